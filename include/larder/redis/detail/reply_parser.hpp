// SPDX-License-Identifier: MIT
#pragma once

#include <hiredis/hiredis.h>

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <variant>

#include "../../error.hpp"
#include "../reply.hpp"
#include "failure_text.hpp"
#include "hiredis.hpp"

namespace larder::redis::detail {
inline namespace LARDER_ABI {

// The parts of a Reply, for the parser, whose name depends on hiredis' version.
struct ReplyAccess {
  static Reply::Kind& kind(Reply& reply) noexcept { return reply.kind_; }
  static auto& content(Reply& reply) noexcept { return reply.content_; }
};

}  // namespace LARDER_ABI
}  // namespace larder::redis::detail

namespace larder::redis::detail {
inline namespace LARDER_HIREDIS_ABI {

// Turns the bytes of a connection into replies: hiredis' reader, building each Reply in place. A string that has come
// as a whole, as the reply to a get does, is taken from the received bytes without it. Not thread-safe.
//
// What it holds is bounded by what was received and `max_reply_bytes`, whatever lengths the peer announces.
class ReplyParser {
 public:
  // A longer reply is a ProtocolError. Throws std::bad_alloc, and Error if the library is not the one of the headers.
  explicit ReplyParser(std::size_t max_reply_bytes) : max_reply_bytes_(max_reply_bytes), reader_(make_reader()) {
    if (!reader_) throw std::bad_alloc();
    if (!fits_headers(*reader_)) {
      throw Error("hiredis: the program was compiled with the headers of version " + std::to_string(HIREDIS_MAJOR) +
                  '.' + std::to_string(HIREDIS_MINOR) + ", and is linked with the library of another major version");
    }
    reader_->privdata = this;
    reader_->maxbuf = kept_bytes;
  }
  ReplyParser(const ReplyParser&) = delete;
  ReplyParser& operator=(const ReplyParser&) = delete;

  // Takes in bytes, which have to stay until next() returns null or keep() is called. Throws std::bad_alloc; after that
  // the stream is lost.
  void feed(const char* bytes, std::size_t size) {
    keep();
    fed_ = {bytes, size};
    reply_bytes_ += size;
  }

  // Copies what has not been taken of the bytes fed. Throws as feed() does.
  void keep() {
    if (fed_.empty()) return;
    if (redisReaderFeed(reader_.get(), fed_.data(), fed_.size()) != REDIS_OK) throw std::bad_alloc();
    fed_ = {};
    most_held_ = (std::max)(most_held_, reader_->len);
  }

  // Whether what was taken in, and not out again, is more than this number of replies may have.
  bool holds_more_than(std::size_t replies) const noexcept { return reply_bytes_ / max_reply_bytes_ > replies; }

  // The next reply, if the whole of it is there, else null. It stays until the next call, and can be moved from.
  // Throws ProtocolError or std::bad_alloc; after that the stream is lost.
  Reply* next() {
    if (reply_bytes_ == 0) return nullptr;
    if (fed_.size() == reply_bytes_ && take_usual()) return &root_;
    keep();
    void* whole = nullptr;
    if (redisReaderGetReply(reader_.get(), &whole) != REDIS_OK) throw_problem();
    const std::size_t left = whole ? reader_->len - reader_->pos : 0;
    if (reply_bytes_ - left > max_reply_bytes_ || (!whole && announces_too_much())) {
      throw ProtocolError("the server's reply is longer than max_reply_bytes, " + std::to_string(max_reply_bytes_));
    }
    if (!whole) return nullptr;
    reply_bytes_ = left;
    if (left == 0 && most_held_ > kept_bytes) give_back();
    return &root_;
  }

  // True if no byte is left over from the replies that were taken.
  bool is_empty() const noexcept { return reply_bytes_ == 0; }

 private:
  static constexpr int max_depth = 7;
  static constexpr std::size_t kept_bytes = std::size_t{1} << 20;  // of the room for a reply, until the next one

  struct Free {
    void operator()(redisReader* reader) const noexcept { redisReaderFree(reader); }
  };

  using Reader = std::unique_ptr<redisReader, Free>;

  static Reader make_reader() noexcept { return Reader(redisReaderCreateWithFunctions(functions())); }

  // Looks at where another version has other members. Major versions have different readers, and nothing tells which
  // one the library is of.
  static bool fits_headers(const redisReader& fresh) noexcept {
#if HIREDIS_MAJOR >= 1
    return fresh.fn == functions();
#else
    return fresh.rstack[0].type == 0;
#endif
  }

  // Takes the reply that stands first in the bytes fed, if it is a string, nil or OK, and not too long.
  bool take_usual() noexcept {
    constexpr std::string_view ok = "+OK\r\n", nil = "$-1\r\n";
    if (fed_[0] == '$' && fed_.size() > nil.size() && fed_[1] != '-') return take_string();
    if (fed_.substr(0, nil.size()) == nil) return took(Reply::Kind::null, {}, nil.size());
    return fed_.substr(0, ok.size()) == ok && took(Reply::Kind::status, "OK", ok.size());
  }

  bool take_string() noexcept {
    const std::string_view fed = fed_;
    std::size_t size = 0, at = 1;
    for (; at < fed.size() && is_digit(fed[at]) && size < fed.size(); ++at) size = 10 * size + digit(fed[at]);
    const std::size_t rest = fed.size() - at;
    const bool is_number = at == 2 || (at > 2 && fed[1] != '0');
    if (!is_number || rest < 4 || size > rest - 4) return false;
    const char* const text = fed.data() + at + 2;
    return is_end_of_line(text - 2) && is_end_of_line(text + size) &&
           took(Reply::Kind::string, {text, size}, at + size + 4);
  }

  // A reply of this number of bytes; false if that is too many.
  bool took(Reply::Kind kind, std::string_view text, std::size_t bytes) noexcept {
    if (bytes > max_reply_bytes_) return false;
    try {
      if (kind != Reply::Kind::null) ReplyAccess::content(root_).emplace<std::string>(text);
      ReplyAccess::kind(root_) = kind;
    } catch (...) {
      ReplyAccess::kind(root_) = Reply::Kind::out_of_memory;
    }
    fed_.remove_prefix(bytes);
    reply_bytes_ -= bytes;
    return true;
  }

  static unsigned digit(char character) noexcept { return static_cast<unsigned char>(character - '0'); }
  static bool is_digit(char character) noexcept { return digit(character) < 10; }
  static bool is_end_of_line(const char* text) noexcept { return text[0] == '\r' && text[1] == '\n'; }

  // The reader frees its room only when it is fed again, and an idle connection may not be for long.
  void give_back() noexcept {
    most_held_ = 0;
    Reader fresh = make_reader();
    if (!fresh) return;
    fresh->privdata = this;
    fresh->maxbuf = kept_bytes;
    reader_ = std::move(fresh);
  }

  // The reader's object functions. The objects are the Reply's own parts, so there is nothing to free, and no exception
  // may pass through the reader: where memory runs out, the reply is read to its end and lost, and the stream stays in
  // step.

  static ReplyParser& parser_of(const redisReadTask* task) noexcept {
    return *static_cast<ReplyParser*>(task->privdata);
  }

  template <class Fill>
  static void* build(const redisReadTask* task, Fill fill) noexcept {
    Reply& root = parser_of(task).root_;
    try {
      Reply* reply = &root;
      if (!task->parent) {
        ReplyAccess::kind(root) = Reply::Kind::null;
      } else if (ReplyAccess::kind(root) != Reply::Kind::out_of_memory) {
        reply =
            &std::get_if<Reply::Array>(&ReplyAccess::content(*static_cast<Reply*>(task->parent->obj)))->emplace_back();
      } else {
        return &root;
      }
      fill(*reply);
      return reply;
    } catch (...) {
      ReplyAccess::kind(root) = Reply::Kind::out_of_memory;
      return &root;
    }
  }

  static void* refuse(const redisReadTask* task, const char* problem) noexcept {
    parser_of(task).problem_ = problem;
    return nullptr;
  }

  static void* create_string(const redisReadTask* task, char* text, std::size_t size) noexcept {
    Reply::Kind kind = Reply::Kind::string;
    switch (task->type) {
      case REDIS_REPLY_STRING:
        if (!is_end_of_line(text + size)) return refuse(task, "a string does not end with CRLF");
        break;
      case REDIS_REPLY_STATUS:
        kind = Reply::Kind::status;
        break;
      case REDIS_REPLY_ERROR:
        kind = Reply::Kind::failure;
        return build(task, [&](Reply& reply) {
          ReplyAccess::content(reply) = shown_failure({text, size});
          ReplyAccess::kind(reply) = Reply::Kind::failure;
        });
      default:
        return refuse(task, "a type that RESP2 does not have");
    }
    return build(task, [&](Reply& reply) {
      ReplyAccess::content(reply).emplace<std::string>(text, size);
      ReplyAccess::kind(reply) = kind;
    });
  }

  template <class Count>
  static void* create_array(const redisReadTask* task, Count count) noexcept {
    if (task->type != REDIS_REPLY_ARRAY) return refuse(task, "a type that RESP2 does not have");
    if (static_cast<std::size_t>(count) > parser_of(task).max_reply_bytes_ / min_element_bytes) {
      return refuse(task, "an array has more elements than max_reply_bytes can hold");
    }
    int depth = 0;
    for (const redisReadTask* parent = task->parent; parent; parent = parent->parent) {
      if (++depth == max_depth) return refuse(task, "arrays are nested too deep");
    }
    return build(task, [&](Reply& reply) {  // grows as elements come, not to the size that is announced
      ReplyAccess::content(reply).emplace<Reply::Array>();
      ReplyAccess::kind(reply) = Reply::Kind::array;
    });
  }

  static void* create_integer(const redisReadTask* task, long long integer) noexcept {
    return build(task, [&](Reply& reply) {
      ReplyAccess::content(reply) = static_cast<std::int64_t>(integer);
      ReplyAccess::kind(reply) = Reply::Kind::integer;
    });
  }

  static void* create_nil(const redisReadTask* task) noexcept {
    if (task->type == REDIS_REPLY_NIL) return refuse(task, "a type that RESP2 does not have");  // unlike $-1 and *-1
    return build(task, [](Reply&) {});
  }

  template <class... Content>
  static void* create_other(const redisReadTask* task, Content...) noexcept {
    return refuse(task, "a type that RESP2 does not have");
  }

  static void free_object(void*) noexcept {}

  [[noreturn]] void throw_problem() const {
    if (!problem_ && reader_->err == REDIS_ERR_OOM) throw std::bad_alloc();
    throw ProtocolError(std::string("the server's reply is not valid: ") + (problem_ ? problem_ : reader_->errstr));
  }

  static redisReplyObjectFunctions* functions() noexcept {
    static redisReplyObjectFunctions table = [] {
      redisReplyObjectFunctions made{};
      made.createString = create_string;
      made.createArray = create_array;
      made.createInteger = create_integer;
      made.createNil = create_nil;
      made.freeObject = free_object;
#ifdef REDIS_REPLY_DOUBLE
      made.createDouble = create_other;
      made.createBool = create_other;
#endif
      return made;
    }();
    return &table;
  }

  // The reader waits for the whole of a string, however long it is said to be.
  bool announces_too_much() const noexcept {
    if (reader_->ridx < 0) return false;
#if HIREDIS_MAJOR >= 1
    const redisReadTask& task = *reader_->task[reader_->ridx];
#else
    const redisReadTask& task = reader_->rstack[reader_->ridx];
#endif
    if (task.type != REDIS_REPLY_STRING) return false;
    std::size_t size = 0;
    const auto read = std::from_chars(reader_->buf + reader_->pos, reader_->buf + reader_->len, size);
    return read.ec == std::errc::result_out_of_range || (read.ec == std::errc() && size > max_reply_bytes_);
  }

  static constexpr std::size_t min_element_bytes = 3;  // a sign, CR, LF

  const std::size_t max_reply_bytes_;
  Reader reader_;
  std::string_view fed_;         // the last of what was received, unless the reader has it
  std::size_t most_held_ = 0;    // bytes at once, by this reader
  std::size_t reply_bytes_ = 0;  // received and not taken yet
  Reply root_;                   // the reply that is being read
  const char* problem_ = nullptr;
};

}  // namespace LARDER_HIREDIS_ABI
}  // namespace larder::redis::detail
