// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace larder {

/// Everything that larder throws at run time, besides std::bad_alloc. No message holds a password.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// No connection, or it was lost.
class ConnectionError : public Error {
 public:
  using Error::Error;
};

/// The time allowed ran out.
class TimeoutError : public ConnectionError {
 public:
  using ConnectionError::ConnectionError;
};

/// The peer does not speak the Redis protocol (RESP2) as expected.
class ProtocolError : public ConnectionError {
 public:
  using ConnectionError::ConnectionError;
};

/// The server answered with an error. what() is its text, which begins with the code.
class ServerError : public Error {
 public:
  using Error::Error;

  /// The first word of the error, as in "WRONGTYPE", "OOM", "NOPERM".
  std::string code() const {
    const std::string text = what();
    return text.substr(0, text.find(' '));
  }
};

/// The server refused some items of a batch, and carried out the others. what() and code() are those of the first
/// refusal.
class BatchError : public ServerError {
 public:
  /// One refused item.
  struct Refusal {
    std::size_t index;    ///< in the batch
    std::string message;  ///< the server's
  };

  /// `refusals` is not empty; `sent` is how many items, from the front of the batch, were sent to the server.
  BatchError(std::vector<Refusal> refusals, std::size_t sent)
      : ServerError(refusals.front().message),
        refusals_(std::make_shared<const std::vector<Refusal>>(std::move(refusals))),
        sent_(sent) {}

  /// The refused items, in order.
  const std::vector<Refusal>& refusals() const noexcept { return *refusals_; }

  /// How many items were sent, from the front of the batch. Of these, all that are not among refusals() were carried
  /// out.
  std::size_t sent() const noexcept { return sent_; }

 private:
  std::shared_ptr<const std::vector<Refusal>> refusals_;
  std::size_t sent_;
};

/// An argument that cannot be used: a bad URL or option, a key or value that is too large, an unusable context.
class InvalidArgument : public Error {
 public:
  using Error::Error;
};

}  // namespace larder
