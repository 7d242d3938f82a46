// What caches have counted, served for Prometheus on http://127.0.0.1:PORT/metrics until the program is stopped:
// metrics REDIS-URL PORT. Without a port it writes the text to standard output.

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <larder/larder.hpp>
#include <larder/prometheus.hpp>
#include <memory>
#include <stdexcept>
#include <string>

using namespace std::chrono_literals;

namespace {

int listen_on(int port) {
  const int listener = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in where{};
  where.sin_family = AF_INET;
  where.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  where.sin_port = htons(static_cast<in_port_t>(port));
  socklen_t size = sizeof where;
  auto* const address = reinterpret_cast<sockaddr*>(&where);
  if (bind(listener, address, size) != 0 || listen(listener, 16) != 0 || getsockname(listener, address, &size) != 0) {
    throw std::runtime_error("cannot listen on port " + std::to_string(port));
  }
  std::cout << "http://127.0.0.1:" << ntohs(where.sin_port) << "/metrics" << std::endl;
  return listener;
}

// One request; whatever it asks for.
template <class Body>
void serve(int listener, Body body) {
  const int connection = accept(listener, nullptr, nullptr);
  char request[4096];
  if (recv(connection, request, sizeof request, 0) > 0) {
    const std::string text = body();
    const std::string answer =
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n"
        "Connection: close\r\nContent-Length: " +
        std::to_string(text.size()) + "\r\n\r\n" + text;
    send(connection, answer.data(), answer.size(), MSG_NOSIGNAL);
  }
  close(connection);
}

}  // namespace

int main(int argc, char** argv) try {
  const auto pool =
      std::make_shared<larder::redis::Pool>(larder::redis::Options::from_url(argc > 1 ? argv[1] : "redis://127.0.0.1"));
  larder::RedisCache pages(pool, "metrics:");
  larder::MemoryCache names;

  pages.set("home", "<h1>Hello</h1>", 1min);
  names.get_or_load("42", 1min, [&] { return pages.get("home").value_or("nobody"); });
  pages.get("a miss");

  const auto text = [&] {
    larder::PrometheusText metrics;
    metrics.add("pages", pages.stats());
    metrics.add("names", names.stats());
    metrics.add("pages", pool->stats());
    return metrics.str();
  };
  if (argc < 3) {
    std::cout << text();
  } else {
    for (const int listener = listen_on(std::atoi(argv[2]));;) serve(listener, text);
  }
  pages.clear();
} catch (const std::exception& error) {
  std::cerr << "metrics: " << error.what() << '\n';
  return 1;
}
