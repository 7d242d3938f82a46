// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <exception>
#include <new>
#include <string>

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
  // Whether the server is there, and had no time: it runs a script.
  bool is_busy() const noexcept { return kind_ == Kind::server && std::strncmp(text_, "BUSY ", 5) == 0; }
  const char* text() const noexcept { return kind_ == Kind::none ? "" : text_; }

  // Whether there was no connection yet.
  bool is_of_connecting() const noexcept { return is_of_connecting_; }
  Failure while_connecting() const noexcept {
    Failure copy = *this;
    copy.is_of_connecting_ = true;
    return copy;
  }

  // Throws it, as an error of this text if it is one of the server or the way to it; the text of a ServerError has its
  // code at `code_begin`. `outcome_unknown`: a change was sent, and no answer came.
  [[noreturn]] void raise(const std::string& text, std::size_t code_begin, bool outcome_unknown) const {
    switch (kind_) {
      case Kind::timeout:
        throw TimeoutError(text, outcome_unknown);
      case Kind::protocol:
        throw ProtocolError(text, outcome_unknown);
      case Kind::server:
        throw ServerError(text, code_begin);
      case Kind::argument:
        throw InvalidArgument(text_);
      case Kind::memory:
        throw std::bad_alloc();
      case Kind::other:
        throw Error(text_);
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
  bool is_of_connecting_ = false;
  char text_[254];  // with a NUL at its end, if there is a kind
};

}  // namespace LARDER_ABI
}  // namespace larder::redis::detail
