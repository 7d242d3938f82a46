// mixed SOCKET: compiled with the headers of one major version of hiredis, and linked with the library of another one:
// the first connection says so.

#include <sys/socket.h>
#include <sys/un.h>

#include <cstdio>
#include <larder/larder.hpp>
#include <string>

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  const std::string path = argv[1];
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  path.copy(name.sun_path, sizeof name.sun_path - 1);
  const int listener = ::socket(AF_UNIX, SOCK_STREAM, 0);
  if (::bind(listener, reinterpret_cast<const sockaddr*>(&name), sizeof name) != 0 || ::listen(listener, 8) != 0)
    return 2;
  larder::RedisCache cache("unix://" + path);
  for (int i = 0; i < 2; ++i) {
    try {
      (void)cache.get("key");
      return 1;
    } catch (const larder::Error& error) {
      std::puts(error.what());
      if (std::string(error.what()).find("another major version") == std::string::npos) return 1;
    }
  }
}
