// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstring>
#include <memory>
#include <string_view>

#include "../../version.hpp"
#include "../command.hpp"

namespace larder::redis::detail {
inline namespace LARDER_ABI {

// The commands that a connection has to send. No I/O.
class Pipeline {
 public:
  static constexpr std::size_t buffer_size = 64 * 1024;

  Pipeline() : out_(new char[buffer_size]) {}

  // Whether commands of this many bytes can be added.
  bool has_room_for(std::size_t bytes) const noexcept { return filled_ + bytes <= buffer_size; }

  // Adds a command there is room for; allocates nothing.
  void append(const Command& command) noexcept {
    put(command.head());
    if (command.head().size() == command.size()) return;
    put(command.value());
    put(command.tail());
  }

  // The bytes that have not been sent.
  std::string_view unsent() const noexcept { return {out_.get() + flushed_, filled_ - flushed_}; }

  // The first bytes of unsent() have been sent; true if those were all.
  bool flushed(std::size_t bytes) noexcept {
    flushed_ += bytes;
    if (flushed_ != filled_) return false;
    flushed_ = filled_ = 0;
    return true;
  }

 private:
  void put(std::string_view bytes) noexcept {
    if (!bytes.empty()) std::memcpy(out_.get() + filled_, bytes.data(), bytes.size());
    filled_ += bytes.size();
  }

  std::unique_ptr<char[]> out_;
  std::size_t filled_ = 0;   // bytes in it
  std::size_t flushed_ = 0;  // bytes of those that have been sent
};

}  // namespace LARDER_ABI
}  // namespace larder::redis::detail
