// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <exception>
#include <new>
#include <string>
#include <string_view>

#include "../../error.hpp"
#include "../../version.hpp"

namespace larder::redis::detail {
inline namespace LARDER_ABI {

// What went wrong, in a form that can be handed to another thread without allocating.
class Failure {
 public:
  // Of the exception that is being handled.
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
    } catch (const std::bad_alloc&) {
      return Failure(Kind::memory, "");
    } catch (const std::exception& error) {
      return Failure(Kind::other, error.what());
    } catch (...) {
      return Failure(Kind::other, "an exception of an unknown type");
    }
  }

  Failure() noexcept = default;
  static Failure timeout(const char* text) noexcept { return Failure(Kind::timeout, text); }
  static Failure protocol(const char* text) noexcept { return Failure(Kind::protocol, text); }
  static Failure loss(const char* text) noexcept { return Failure(Kind::connection, text); }

  explicit operator bool() const noexcept { return kind_ != Kind::none; }
  // Whether it says no more than that a connection broke, so that another one may do better.
  bool is_loss() const noexcept { return kind_ == Kind::connection; }
  bool is_timeout() const noexcept { return kind_ == Kind::timeout; }
  // Whether it comes from this process and says nothing about the server.
  bool is_local() const noexcept { return kind_ == Kind::memory || kind_ == Kind::other; }
  const char* text() const noexcept { return kind_ == Kind::none ? "" : text_; }

  // Throws it, as an error whose text ends with `also`. `outcome_unknown`: a change was sent, and no answer came.
  [[noreturn]] void raise(std::string_view also, bool outcome_unknown) const {
    const std::string text = std::string(text_).append(also);
    switch (kind_) {
      case Kind::timeout:
        throw TimeoutError(text, outcome_unknown);
      case Kind::protocol:
        throw ProtocolError(text, outcome_unknown);
      case Kind::server:
        throw ServerError(text);
      case Kind::argument:
        throw InvalidArgument(text);
      case Kind::memory:
        throw std::bad_alloc();
      case Kind::other:
        throw Error(text);
      case Kind::connection:
      case Kind::none:
        break;
    }
    throw ConnectionError(text, outcome_unknown);
  }

 private:
  enum class Kind : unsigned char { none, connection, timeout, protocol, server, argument, memory, other };

  Failure(Kind kind, const char* text) noexcept : kind_(kind) {
    const std::size_t size = (std::min)(std::strlen(text), sizeof text_ - 1);
    std::memcpy(text_, text, size);
    text_[size] = '\0';
  }

  Kind kind_ = Kind::none;
  char text_[255];  // with a NUL at its end, if there is a kind
};

}  // namespace LARDER_ABI
}  // namespace larder::redis::detail
