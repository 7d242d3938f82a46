// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstring>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "../../error.hpp"
#include "../../version.hpp"
#include "../command.hpp"
#include "../reply.hpp"

namespace larder::redis::detail {
inline namespace LARDER_ABI {

// What a connection has to send, and which replies it is owed, in order. No I/O.
class Pipeline {
 public:
  static constexpr std::size_t max_batch = 256;          // commands
  static constexpr std::size_t buffer_size = 64 * 1024;  // bytes

  Pipeline() : out_(new char[buffer_size]) { expected_.reserve(max_batch); }

  // Whether the command can be added to a batch.
  bool has_room_for(const Command& command) const noexcept { return expected_.size() < max_batch && fits(command); }

  // Whether the buffer has room for the command.
  bool fits(const Command& command) const noexcept { return filled_ + command.size() <= buffer_size; }

  // Adds a command that fits; allocates nothing within a batch.
  void append(const Command& command) {
    expect(command);
    put(command.head());
    put(command.value());
    put(command.tail());
  }

  // A command that is sent without the buffer.
  void expect(const Command& command) { expected_.push_back(command.answer()); }

  // The bytes in the buffer that have not been sent.
  std::string_view unsent() const noexcept { return {out_.get() + flushed_, filled_ - flushed_}; }

  // The first bytes of unsent() have been sent; true if those were all.
  bool flushed(std::size_t bytes) noexcept {
    flushed_ += bytes;
    if (flushed_ != filled_) return false;
    flushed_ = filled_ = 0;
    return true;
  }

  // Bytes of the commands that are owed a reply may have reached the server.
  void note_sent() noexcept { has_sent_ = true; }
  bool has_sent() const noexcept { return has_sent_; }

  // How many replies are to come.
  std::size_t owed() const noexcept { return expected_.size() - answered_; }

  // Takes account of the next reply. Throws ProtocolError if it does not fit the command.
  void answer(const Reply& reply) {
    if (owed() == 0) throw ProtocolError("the server sent a reply that nobody asked for");
    const auto expected = expected_[answered_];
    if (expected && !reply.fits(*expected)) throw ProtocolError("the server's answer does not fit the command");
    if (++answered_ == expected_.size()) {
      expected_.clear();
      answered_ = 0;
      has_sent_ = false;
    }
  }

 private:
  void put(std::string_view bytes) noexcept {
    if (!bytes.empty()) std::memcpy(out_.get() + filled_, bytes.data(), bytes.size());
    filled_ += bytes.size();
  }

  std::unique_ptr<char[]> out_;                       // commands to be sent
  std::size_t filled_ = 0;                            // bytes in it
  std::size_t flushed_ = 0;                           // bytes of those that have been sent
  std::vector<std::optional<Reply::Kind>> expected_;  // by the commands since nothing was owed
  std::size_t answered_ = 0;                          // how many of those have their reply
  bool has_sent_ = false;
};

}  // namespace LARDER_ABI
}  // namespace larder::redis::detail
