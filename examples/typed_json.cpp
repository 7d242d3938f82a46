// Values of the application's own types, as JSON that any other program can read. Needs nlohmann::json. The argument is
// the URL of a Redis.

#include <chrono>
#include <exception>
#include <iostream>
#include <larder/codec/json.hpp>
#include <larder/larder.hpp>
#include <optional>
#include <string>
#include <vector>

using namespace std::chrono_literals;

struct Product {
  int id = 0;
  std::string name;
  std::vector<double> prices;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Product, id, name, prices)

int main(int argc, char** argv) try {
  larder::RedisCache redis(argc > 1 ? argv[1] : "redis://127.0.0.1", "typed_json:");
  redis.clear();
  const larder::TypedCache<int, Product> products(redis, "product:v1:");

  const Product tea = products.get_or_load(7, 10min, [] { return Product{7, "tea", {9.99, 8.5}}; });
  std::cout << tea.name << " in Redis: " << redis.get("product:v1:7").value_or("nothing") << '\n';

  // "There is none" is a value, too, and this loader keeps it for a shorter time.
  const larder::TypedCache<int, std::optional<Product>> maybe(redis, "maybe:v1:");
  const auto none = maybe.get_or_load(8, 10min, [](larder::LoadContext<std::optional<Product>>& load) {
    load.expires = 30s;
    return std::nullopt;
  });
  std::cout << "product 8: " << (none ? none->name : "there is none") << '\n';

  // What cannot be decoded is loaded anew.
  redis.set("product:v1:7", "{\"id\": \"seven\"}");
  const Product again = products.get_or_load(7, 10min, [] { return Product{7, "green tea", {}}; });
  std::cout << again.name << ", undecodable values: " << products.stats().undecodable << '\n';
  return tea.id == 7 && !none && again.name == "green tea" ? 0 : 1;
} catch (const std::exception& error) {
  std::cerr << "typed_json: " << error.what() << '\n';
  return 1;
}
