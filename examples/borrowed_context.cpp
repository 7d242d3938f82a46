// A cache on a hiredis connection of your own, which stays yours: larder uses it during a call, and never closes it.
// The argument is the URL of a Redis.

#include <hiredis/hiredis.h>

#include <exception>
#include <iostream>
#include <larder/larder.hpp>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>

int main(int argc, char** argv) try {
  const auto where = larder::redis::Options::from_url(argc > 1 ? argv[1] : "redis://127.0.0.1");
  const timeval half_a_second{0, 500'000};
  const std::unique_ptr<redisContext, void (*)(redisContext*)> context(
      where.unix_socket.empty() ? redisConnectWithTimeout(where.host.c_str(), where.port, half_a_second)
                                : redisConnectUnixWithTimeout(where.unix_socket.c_str(), half_a_second),
      redisFree);
  if (!context || context->err != 0) throw std::runtime_error(context ? context->errstr : "no memory");
  redisSetTimeout(context.get(), half_a_second);  // the most that a call of the cache may take, too

  std::optional<std::string> greeting;
  {
    larder::RedisCache cache(context.get(), "borrowed_context:");
    cache.set("greeting", "hello", 60);
    greeting = cache.get("greeting");
  }

  const std::unique_ptr<void, void (*)(void*)> reply(redisCommand(context.get(), "PTTL borrowed_context:greeting"),
                                                     freeReplyObject);
  if (!reply) throw std::runtime_error(context->errstr);
  const auto left = static_cast<redisReply*>(reply.get())->integer;
  std::cout << "greeting: " << greeting.value_or("a miss") << ", for " << left << " ms\n";
  return greeting == "hello" && left > 0 && left <= 60'000 ? 0 : 1;
} catch (const std::exception& error) {
  std::cerr << "borrowed_context: " << error.what() << '\n';
  return 1;
}
