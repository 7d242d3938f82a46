#pragma once

#include <sys/mman.h>

#include <chrono>
#include <cstddef>
#include <exception>
#include <larder/base_cache.hpp>
#include <larder/error.hpp>
#include <new>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace larder::testing {

/// Polls a condition that no event tells of; false if it does not come true in time.
template <class Condition>
bool eventually(Condition condition, std::chrono::milliseconds within = std::chrono::seconds(60)) {
  const auto deadline = std::chrono::steady_clock::now() + within;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return true;
}

/// Runs work("0"), work("1") and so on in threads, and throws what one of them threw.
template <class Work>
void in_threads(std::size_t count, Work work) {
  std::vector<std::exception_ptr> errors(count);
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < count; ++i) {
    threads.emplace_back([&, i] {
      try {
        work(std::to_string(i));
      } catch (...) {
        errors[i] = std::current_exception();
      }
    });
  }
  for (auto& thread : threads) thread.join();
  for (const auto& error : errors) {
    if (error) std::rethrow_exception(error);
  }
}

/// A value that tells which key it belongs to.
inline std::string value_of(std::string_view key, std::size_t size = 100) {
  std::string value;
  value.reserve(size + key.size() + 3);
  while (value.size() < size) value.append("<").append(key).append(">\n");
  value.resize(size);
  return value;
}

/// The message of an exception of this type; it never shows a password.
template <class Exception, class Action>
std::string message_of(Action action) {
  try {
    action();
  } catch (const Exception& error) {
    const std::string message = error.what();
    if (message.find("s3cr3t") != std::string::npos) throw std::logic_error("the message shows a password");
    return message;
  }
  throw std::runtime_error("there was no exception");
}

/// The code of the ServerError that an action ends with, as in "WRONGTYPE".
template <class Action>
std::string code_of(Action action) {
  try {
    action();
  } catch (const ServerError& error) {
    return error.code();
  }
  return "no error";
}

/// A text longer than a key or value may be, in memory that is reserved and never touched.
class TooLong {
 public:
  TooLong() : bytes_(mmap(nullptr, size, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)) {
    if (bytes_ == MAP_FAILED) throw std::bad_alloc();
  }
  ~TooLong() { munmap(bytes_, size); }
  TooLong(const TooLong&) = delete;
  TooLong& operator=(const TooLong&) = delete;

  std::string_view text() const { return {static_cast<const char*>(bytes_), size}; }

 private:
  static constexpr std::size_t size = BaseCache::max_length + 1;
  void* const bytes_;
};

}  // namespace larder::testing
