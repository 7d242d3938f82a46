// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cstring>
#include <new>
#include <string>
#include <string_view>

#include "../../error.hpp"
#include "../../version.hpp"

namespace larder::redis::detail {
inline namespace LARDER_ABI {

/// What went wrong, in a form that can be handed to another thread without allocating.
class Failure {
 public:
  /// Of the exception that is being handled.
  static Failure current() noexcept {
    try {
      throw;
    } catch (const TimeoutError& error) {
      return Failure(Kind::timeout, error.what());
    } catch (const ProtocolError& error) {
      return Failure(Kind::protocol, error.what());
    } catch (const ConnectionError& error) {
      return Failure(Kind::connection, error.what());
    } catch (const ServerError& error) {
      return Failure(Kind::server, error.what());
    } catch (const InvalidArgument& error) {
      return Failure(Kind::argument, error.what());
    } catch (...) {
      return Failure(Kind::memory, "");
    }
  }

  Failure() noexcept = default;
  static Failure timeout(const char* text) noexcept { return Failure(Kind::timeout, text); }

  explicit operator bool() const noexcept { return kind_ != Kind::none; }
  /// Whether memory ran out.
  bool is_memory() const noexcept { return kind_ == Kind::memory; }
  /// Whether it says no more than that a connection broke, so that another one may do better.
  bool is_loss() const noexcept { return kind_ == Kind::connection || kind_ == Kind::memory; }

  [[noreturn]] void raise(std::string_view also) const {
    const std::string text = std::string(text_).append(also);
    switch (kind_) {
      case Kind::timeout:
        throw TimeoutError(text);
      case Kind::protocol:
        throw ProtocolError(text);
      case Kind::server:
        throw ServerError(text);
      case Kind::argument:
        throw InvalidArgument(text);
      case Kind::memory:
        throw std::bad_alloc();
      case Kind::connection:
      case Kind::none:
        break;
    }
    throw ConnectionError(text);
  }

 private:
  enum class Kind : unsigned char { none, connection, timeout, protocol, server, argument, memory };

  Failure(Kind kind, const char* text) noexcept : kind_(kind) {
    const std::size_t size = (std::min)(std::strlen(text), sizeof text_ - 1);
    std::memcpy(text_, text, size);
    text_[size] = '\0';
  }

  Kind kind_ = Kind::none;
  char text_[255];
};

}  // namespace LARDER_ABI
}  // namespace larder::redis::detail
