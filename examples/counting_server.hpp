#pragma once

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

// An HTTP server on 127.0.0.1, for http_cache.cpp: it serves page N as /N, and counts what it sends.
class CountingServer {
 public:
  struct Answer {
    std::string header, etag = {};
  };
  struct Page {
    std::vector<Answer> answers;     // one after another, and the last one again and again
    int full = 0, not_modified = 0;  // how many answers of each kind were sent
  };

  explicit CountingServer(std::vector<Page> pages)
      : pages_(std::move(pages)), listener_(socket(AF_INET, SOCK_STREAM, 0)) {
    address_.sin_family = AF_INET;
    address_.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address_;
    if (bind(listener_, address(), size) != 0 || listen(listener_, 16) != 0 ||
        getsockname(listener_, address(), &size) != 0) {
      throw std::runtime_error("cannot listen on 127.0.0.1");
    }
    thread_ = std::thread([this] {
      while (serve(accept(listener_, nullptr, nullptr))) continue;
    });
  }

  ~CountingServer() {
    stop();
    close(listener_);
  }

  std::string url(std::size_t page) const {
    return "http://127.0.0.1:" + std::to_string(ntohs(address_.sin_port)) + '/' + std::to_string(page);
  }

  // The pages with their counts. Nothing is served any more.
  const std::vector<Page>& stop() {
    if (thread_.joinable()) {
      const int last = socket(AF_INET, SOCK_STREAM, 0);
      connect(last, address(), sizeof address_);
      close(last);  // a connection without a request ends the thread
      thread_.join();
    }
    return pages_;
  }

 private:
  bool serve(int connection) {
    char request[4096];  // more than what curl sends for a GET, and in one piece
    const auto size = recv(connection, request, sizeof request, 0);
    if (size > 0) {
      const std::string answer = answer_to(std::string(request, static_cast<std::size_t>(size)));
      send(connection, answer.data(), answer.size(), 0);
    }
    close(connection);
    return size > 0;
  }

  std::string answer_to(const std::string& request) {
    Page& page = pages_.at(std::stoul(request.substr(5)));  // "GET /" and a number
    const auto sent = static_cast<std::size_t>(page.full + page.not_modified);
    const Answer& answer = page.answers[std::min(sent, page.answers.size() - 1)];
    std::string headers = "Connection: close\r\n" + answer.header + "\r\n";
    if (!answer.etag.empty()) headers += "ETag: " + answer.etag + "\r\n";
    if (!answer.etag.empty() && request.find("If-None-Match: " + answer.etag + "\r\n") != std::string::npos) {
      ++page.not_modified;
      return "HTTP/1.1 304 Not Modified\r\n" + headers + "\r\n";
    }
    ++page.full;
    return "HTTP/1.1 200 OK\r\n" + headers + "\r\nanswer " + std::to_string(page.full);
  }

  sockaddr* address() { return reinterpret_cast<sockaddr*>(&address_); }

  std::vector<Page> pages_;
  sockaddr_in address_{};
  const int listener_;
  std::thread thread_;
};
