// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "version.hpp"

namespace larder {
inline namespace LARDER_ABI {

/// Everything that larder throws at run time, besides std::bad_alloc. No message holds a password.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// No connection, or it was lost.
class ConnectionError : public Error {
 public:
  /// `outcome_unknown`: a change was sent, and no answer came.
  explicit ConnectionError(const std::string& text, bool outcome_unknown = false)
      : Error(text), outcome_unknown_(outcome_unknown) {}

  /// True if a change was sent and may have been carried out; false if nothing was sent, and for reads.
  bool outcome_unknown() const noexcept { return outcome_unknown_; }

 private:
  bool outcome_unknown_;
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

/// The server answered with an error. what() is its text, which begins with the code; if it refused a connection, its
/// address stands before that. A hint may follow where the URL is for another kind of server.
class ServerError : public Error {
 public:
  /// `code_begin` is where in the text the code begins.
  explicit ServerError(const std::string& text, std::size_t code_begin = 0) : Error(text), code_begin_(code_begin) {}

  /// The first word of the error, as in "WRONGTYPE", "OOM", "NOPERM".
  std::string code() const {
    const std::string text = what() + code_begin_;
    return text.substr(0, text.find(' '));
  }

 private:
  std::size_t code_begin_;
};

/// The server refused some items of a batch, and carried out the others. what() and code() are those of the first
/// refusal. Copies share the items.
class BatchError : public ServerError {
 public:
  /// One refused item.
  struct Refusal {
    std::size_t index;    ///< in the batch
    std::string message;  ///< the server's
  };

  /// `refusals` is not empty, `sent` is the number of items that were sent, and `values` has one value a key if the
  /// batch reads.
  BatchError(std::vector<Refusal> refusals, std::size_t sent, std::vector<std::optional<std::string>> values = {})
      : ServerError(refusals.front().message),
        items_(std::make_shared<const Items>(Items{std::move(refusals), std::move(values)})),
        sent_(sent) {}

  /// The refused items, in order.
  const std::vector<Refusal>& refusals() const noexcept { return items_->refusals; }

  /// What get_many did read, in the order of the keys; nothing for a miss or a refused key. Empty for other batches.
  const std::vector<std::optional<std::string>>& values() const noexcept { return items_->values; }

  /// How many items were sent to the server; it carried out all of them but the refused ones.
  std::size_t sent() const noexcept { return sent_; }

 private:
  struct Items {
    std::vector<Refusal> refusals;
    std::vector<std::optional<std::string>> values;
  };

  std::shared_ptr<const Items> items_;
  std::size_t sent_;
};

/// An argument that cannot be used: a bad URL or option, a key or value that is too large, an unusable context.
class InvalidArgument : public Error {
 public:
  using Error::Error;
};

}  // namespace LARDER_ABI
}  // namespace larder
