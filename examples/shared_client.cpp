// Two caches that share one client made from a URL: its few connections serve both, and each has a prefix of its own.
// The argument is the URL.

#include <chrono>
#include <exception>
#include <iostream>
#include <larder/larder.hpp>
#include <string>

using namespace std::chrono_literals;

int main(int argc, char** argv) try {
  const std::string url = argc > 1 ? argv[1] : "redis://127.0.0.1";
  const auto client = larder::redis::make_client(url);
  larder::RedisCache users(client, "shared_client:users:");
  larder::RedisCache pages(client, "shared_client:pages:");

  users.set("42", "Ada", 1h);
  pages.set("42", "<h1>Ada</h1>", 10min);
  std::cout << "user 42: " << users.get("42").value_or("a miss") << '\n'
            << "page 42: " << pages.get("42").value_or("a miss") << '\n';

  pages.clear();  // the pages alone
  const auto user = users.get("42");
  const auto page = pages.get("42");
  std::cout << "without the pages\n"
            << "user 42: " << user.value_or("a miss") << '\n'
            << "page 42: " << page.value_or("a miss") << '\n';

  users.clear();
  return user == "Ada" && !page ? 0 : 1;
} catch (const std::exception& error) {
  std::cerr << "shared_client: " << error.what() << '\n';
  return 1;
}
