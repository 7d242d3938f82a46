// SPDX-License-Identifier: MIT
#pragma once

#include <hiredis/hiredis.h>

#include <chrono>
#include <cstddef>
#include <cstdio>
#include <memory>
#include <string>
#include <utility>

#include "../../error.hpp"
#include "../options.hpp"
#include "hiredis.hpp"
#include "socket.hpp"

namespace larder::redis::detail {
inline namespace LARDER_HIREDIS_ABI {

// The bytes to and from a server, over a hiredis context, which is owned or borrowed. Only this class touches the
// socket of a connection.
class Stream {
 public:
  static Stream own(redisContext* context) noexcept { return Stream(Context(context, Release{true})); }

  // Throws ConnectionError if the context is in error, InvalidArgument if validate() does.
  static Stream borrow(redisContext* context) {
    if (context->err != 0) {
      throw ConnectionError(std::string("redisContext: is in error and needs redisReconnect(): ") + context->errstr);
    }
    validate(context);
    suppress_sigpipe(context->fd);
    return Stream(Context(context, Release{false}));
  }

  // Throws InvalidArgument if a context cannot be borrowed.
  static void validate(const redisContext* context) {
    if (!context) throw InvalidArgument("redisContext: is null; was the result of redisConnect() checked?");
    if (context->err != 0) throw InvalidArgument(std::string("redisContext: is in error: ") + context->errstr);
    if ((context->flags & REDIS_BLOCK) == 0) {
      throw InvalidArgument("redisContext: is non-blocking; connect with redisConnect() or redisConnectWithTimeout()");
    }
#if HIREDIS_MAJOR >= 1
    if (context->privctx) throw InvalidArgument("redisContext: uses TLS, which this version of larder does not have");
#endif
    if (has_pending(*context)) {
      throw InvalidArgument("redisContext: has commands or replies pending; read all replies first");
    }
  }

  // Sends what fits now; returns how many bytes that were.
  std::size_t send(const char* bytes, std::size_t size) { return send_some(context_->fd, bytes, size); }

  // Receives what is there now; returns how many bytes that were.
  std::size_t receive(char* bytes, std::size_t size) { return receive_some(context_->fd, bytes, size); }

  // Has receive_blocking() wait, for at most this long; false if it cannot. A borrowed socket keeps its settings.
  bool block_in_receive(std::chrono::milliseconds longest) noexcept {
    return is_owned() && longest.count() > 0 && receive_for(context_->fd, longest);
  }
  // Waits for bytes; returns how many came, 0 if none did in that time.
  std::size_t receive_blocking(char* bytes, std::size_t size) { return wait_and_receive(context_->fd, bytes, size); }

  // Waits until one of `events` (POLLIN, POLLOUT) or an error is there, and returns what is; 0 if the deadline came
  // first.
  short wait(short events, Deadline deadline) { return wait_for(context_->fd, events, deadline); }

  // Whether nothing has happened to it while nothing was sent: not closed, no bytes that nobody asked for, nothing left
  // half done by the owner of a borrowed context.
  bool is_quiet() const noexcept {
    return (is_owned() || !has_pending(*context_)) && context_->err == 0 && !is_readable(context_->fd);
  }

  bool is_owned() const noexcept { return context_.get_deleter().owned; }

  // Nothing that was sent and has not gone out yet arrives later. The owner of a borrowed context cannot read a reply
  // that is not theirs: the context is left in error.
  void mark_unusable() noexcept {
    if (is_owned()) return reset_on_close(context_->fd);
    if (context_->err != 0) return;
    context_->err = REDIS_ERR_OTHER;
    std::snprintf(context_->errstr, sizeof context_->errstr, "given up in the middle of a command");
  }

 private:
  struct Release {
    bool owned;
    void operator()(redisContext* context) const noexcept {
      if (owned) redisFree(context);
    }
  };
  using Context = std::unique_ptr<redisContext, Release>;

  explicit Stream(Context context) noexcept : context_(std::move(context)) {}

  // Whether commands wait to be sent, or replies to be read. obuf is an sds string: NUL-terminated RESP, which begins
  // with '*'.
  static bool has_pending(const redisContext& context) noexcept {
    return (context.obuf && *context.obuf != '\0') || context.reader->pos != context.reader->len ||
           context.reader->ridx != -1;
  }

  Context context_;
};

}  // namespace LARDER_HIREDIS_ABI
}  // namespace larder::redis::detail
