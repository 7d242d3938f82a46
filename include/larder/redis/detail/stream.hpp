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
#include "endpoint.hpp"
#include "hiredis.hpp"
#include "socket.hpp"
#include "tls_layer.hpp"

namespace larder::redis::detail {
inline namespace LARDER_HIREDIS_ABI {

// The bytes to and from a server, over a socket of its own or that of a borrowed hiredis context, and TLS if there is
// a layer of it. Only this class touches the socket of a connection.
class Stream {
 public:
  // Owns a connected socket, which does not block.
  explicit Stream(OwnedSocket socket) noexcept : owned_(std::move(socket)), socket_(owned_.get()) {}

  // Throws ConnectionError if the context is in error, InvalidArgument if validate() does.
  static Stream borrow(redisContext* context) {
    if (context->err != 0) {
      throw ConnectionError(std::string("redisContext: is in error and needs redisReconnect(): ") + context->errstr);
    }
    validate(context);
    suppress_sigpipe(context->fd);
    return Stream(context);
  }

  // Throws InvalidArgument if a context cannot be borrowed.
  static void validate(const redisContext* context) {
    if (!context) throw InvalidArgument("redisContext: is null; was the result of redisConnect() checked?");
    if (context->err != 0) throw InvalidArgument(std::string("redisContext: is in error: ") + context->errstr);
    if ((context->flags & REDIS_BLOCK) == 0) {
      throw InvalidArgument("redisContext: is non-blocking; connect with redisConnect() or redisConnectWithTimeout()");
    }
#if HIREDIS_MAJOR >= 1
    if (context->privctx) throw InvalidArgument("redisContext: uses TLS by hiredis; give a rediss:// URL instead");
#endif
    if (has_pending(*context)) {
      throw InvalidArgument("redisContext: has commands or replies pending; read all replies first");
    }
  }

  // As far as a context knows it.
  static std::string address_of(const redisContext& context) {
    if (context.connection_type == REDIS_CONN_UNIX && context.unix_sock.path) return context.unix_sock.path;
    if (!context.tcp.host) return "redisContext";
    return to_string(Endpoint{context.tcp.host, context.tcp.port});
  }

  // Speaks TLS from now on, over an owned socket. Throws ConnectionError if the certificates cannot be used; the
  // handshake is to be made with what it returns.
  TlsLayer& use_tls(TlsProvider& provider) {
    tls_ = provider.open(socket_);
    return *tls_;
  }

  // Sends what fits now; returns how many bytes that were.
  std::size_t send(const char* bytes, std::size_t size) {
    if (tls_) return tls_->send(bytes, size);
    if (is_owned()) return send_some(socket_, bytes, size);
    const NonBlocking for_now(socket_);
    return send_some(socket_, bytes, size);
  }

  // Receives what is there now; returns how many bytes that were.
  std::size_t receive(char* bytes, std::size_t size) {
    if (tls_) return tls_->receive(bytes, size);
    if (is_owned()) return receive_some(socket_, bytes, size);
    const NonBlocking for_now(socket_);
    return receive_some(socket_, bytes, size);
  }

  // Has receive_blocking() wait, for at most this long; false if it cannot. A borrowed socket keeps its settings, and
  // TLS does not block.
  bool block_in_receive(std::chrono::milliseconds longest) noexcept {
    return is_owned() && !tls_ && longest.count() > 0 && receive_for(socket_, longest);
  }
  // Waits for bytes; returns how many came, 0 if none did in that time.
  std::size_t receive_blocking(char* bytes, std::size_t size) { return wait_and_receive(socket_, bytes, size); }

  // Waits until one of `events` (POLLIN, POLLOUT) or an error is there, and returns what is; 0 if the deadline came
  // first.
  short wait(short events, Deadline deadline) {
    return tls_ ? tls_->wait(events, deadline) : wait_for(socket_, events, deadline);
  }

  // Whether nothing has happened to it while nothing was sent: not closed, no bytes that nobody asked for, nothing left
  // half done by the owner of a borrowed context.
  bool is_quiet() const noexcept {
    if (tls_) return tls_->is_quiet();
    return (is_owned() || (!has_pending(*borrowed_) && borrowed_->err == 0)) && !is_ready(socket_, POLLIN);
  }

  bool is_owned() const noexcept { return !borrowed_; }

  // Nothing that was sent and has not gone out yet arrives later. The owner of a borrowed context cannot read a reply
  // that is not theirs: the context is left in error.
  void mark_unusable() noexcept {
    if (is_owned()) return reset_on_close(socket_);
    if (borrowed_->err != 0) return;
    borrowed_->err = REDIS_ERR_OTHER;
    std::snprintf(borrowed_->errstr, sizeof borrowed_->errstr, "given up in the middle of a command");
  }

 private:
  explicit Stream(redisContext* context) noexcept : borrowed_(context), socket_(context->fd) {}

  // Whether commands wait to be sent, or replies to be read. obuf is an sds string: NUL-terminated RESP, which begins
  // with '*'.
  static bool has_pending(const redisContext& context) noexcept {
    return (context.obuf && *context.obuf != '\0') || context.reader->pos != context.reader->len ||
           context.reader->ridx != -1;
  }

  OwnedSocket owned_;
  redisContext* borrowed_ = nullptr;
  Socket socket_;
  std::unique_ptr<TlsLayer> tls_;  // none: plain
};

}  // namespace LARDER_HIREDIS_ABI
}  // namespace larder::redis::detail
