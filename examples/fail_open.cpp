// A program that goes on when Redis does not. It starts a Redis of its own, and stops and continues it while it runs.

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <larder/larder.hpp>
#include <string>
#include <thread>

using namespace std::chrono_literals;

int main() try {
  char directory[] = "/tmp/fail_open.XXXXXX";
  if (mkdtemp(directory) == nullptr) return 1;
  const std::string socket = std::string(directory) + "/redis.sock";
  const char* const program = std::getenv("REDIS_SERVER") ? std::getenv("REDIS_SERVER") : "redis-server";
  const pid_t server = fork();
  if (server == 0) {
    execlp(program, program, "--port", "0", "--unixsocket", socket.c_str(), "--save", "", "--logfile", "/dev/null",
           nullptr);
    _exit(127);
  }

  larder::RedisCache redis("unix://" + socket + "?command_timeout=200ms", "fail_open:");
  larder::FailOpenCache cache(redis);
  const auto load = [] { return "from the source"; };
  while (!cache.add("started", "yes")) std::this_thread::sleep_for(10ms);
  cache.set("price", "old", 1h);
  std::cout << "price: " << cache.get("price").value_or("a miss") << '\n';

  kill(server, SIGSTOP);  // Redis hangs
  while (!cache.circuit_open()) cache.get("price");
  cache.erase("price");  // cannot be done now: is remembered
  std::cout << "while Redis hangs: " << cache.get_or_load("price", 1h, load) << '\n';

  kill(server, SIGCONT);
  while (cache.circuit_open()) cache.get("started"), std::this_thread::sleep_for(1ms);
  const std::string price = cache.get("price").value_or("a miss, for it was erased meanwhile");
  std::cout << "it is back: " << price << '\n';

  kill(server, SIGKILL);
  waitpid(server, nullptr, 0);
  unlink(socket.c_str());
  rmdir(directory);
  std::cout << "and gone: " << cache.get_or_load("price", 1h, load) << '\n';
  return price == "old" ? 1 : 0;
} catch (const std::exception& error) {
  std::cerr << "fail_open: " << error.what() << '\n';
  return 1;
}
