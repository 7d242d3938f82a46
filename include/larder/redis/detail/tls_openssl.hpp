// SPDX-License-Identifier: MIT
#pragma once

#include "socket.hpp"  // before OpenSSL: on Windows it chooses the version of the socket library

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <memory>
#include <mutex>
#include <new>
#include <string>
#include <string_view>
#include <utility>

#include "../../error.hpp"
#include "../options.hpp"
#include "clock.hpp"
#include "hiredis.hpp"
#include "tls_context.hpp"
#include "tls_layer.hpp"
#include "url.hpp"

namespace larder::redis::detail {
inline namespace LARDER_HIREDIS_ABI {

// A socket as OpenSSL's input and output. Its own would raise SIGPIPE, and block where the socket does.
class TlsSocket {
 public:
  explicit TlsSocket(Socket socket) noexcept : socket_(socket) {}
  TlsSocket(const TlsSocket&) = delete;
  TlsSocket& operator=(const TlsSocket&) = delete;
  ~TlsSocket() = default;

  Socket socket() const noexcept { return socket_; }
  int error() const noexcept { return error_; }           // that a call failed with; 0: none
  bool is_at_end() const noexcept { return is_at_end_; }  // the peer has closed
  unsigned reads() const noexcept { return reads_; }      // how often bytes came

  // Makes it what the session reads and writes. Throws bad_alloc.
  void attach(SSL* session) {
    static const BIO_METHOD* const method = make_method();  // never freed: a global cache may be the last to go
    BIO* const bio = method ? BIO_new(method) : nullptr;
    if (!bio) throw std::bad_alloc();
    BIO_set_data(bio, this);
    BIO_set_init(bio, 1);
    SSL_set_bio(session, bio, bio);
  }

 private:
  static const BIO_METHOD* make_method() noexcept {
    BIO_METHOD* const method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "larder");
    if (!method) return nullptr;
    BIO_meth_set_write(method, write);
    BIO_meth_set_read(method, read);
    BIO_meth_set_ctrl(method, control);
    return method;
  }

  static int write(BIO* bio, const char* bytes, int size) noexcept {
    auto& self = *static_cast<TlsSocket*>(BIO_get_data(bio));
    BIO_clear_retry_flags(bio);
    for (;;) {
      const auto sent = ::send(self.socket_, bytes, static_cast<Length>(size), send_flags);
      if (sent >= 0) return static_cast<int>(sent);
      const int error = last_error();
      if (was_interrupted(error)) continue;
      if (would_block(error)) {
        BIO_set_retry_write(bio);
      } else {
        self.error_ = error;
      }
      return -1;
    }
  }

  static int read(BIO* bio, char* bytes, int size) noexcept {
    auto& self = *static_cast<TlsSocket*>(BIO_get_data(bio));
    BIO_clear_retry_flags(bio);
    for (;;) {
      const auto received = ::recv(self.socket_, bytes, static_cast<Length>(size), receive_flags);
      if (received >= 0) {
        self.is_at_end_ = received == 0;
        ++self.reads_;
        return static_cast<int>(received);
      }
      const int error = last_error();
      if (was_interrupted(error)) continue;
      if (would_block(error)) {
        BIO_set_retry_read(bio);
      } else {
        self.error_ = error;
      }
      return -1;
    }
  }

  // OpenSSL 3 takes a stream that was cut off for one that goes on, unless it is told.
  static long control(BIO* bio, int command, long, void*) noexcept {
    if (command == BIO_CTRL_EOF) return static_cast<TlsSocket*>(BIO_get_data(bio))->is_at_end_ ? 1 : 0;
    return command == BIO_CTRL_FLUSH ? 1 : 0;
  }

  const Socket socket_;
  int error_ = 0;
  bool is_at_end_ = false;
  unsigned reads_ = 0;
};

// The server whose name or address its certificate must have.
class TlsPeer {
 public:
  explicit TlsPeer(const Options& options)
      : names_(options.tls_server_name.empty() ? options.host : options.tls_server_name) {}

  // Tells the server which name is meant, if it is a name and not an address.
  void announce(SSL* session) const {
    std::string_view rest = names_;
    while (!rest.empty()) {
      std::string name(take_until(rest, ','));
      if (name.empty() || is_address(name)) continue;
      // What SSL_set_tlsext_host_name() stands for, without its cast.
      if (SSL_ctrl(session, SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name, name.data()) != 1) {
        throw InvalidArgument("tls_server_name: cannot be a host's name");
      }
      return;
    }
  }

  // Throws TlsRefusal unless the session's server has proved to be the right one.
  void check(const SSL* session) const {
#if OPENSSL_VERSION_NUMBER >= 0x30000000L
    const std::unique_ptr<X509, FreeTls> certificate(SSL_get1_peer_certificate(session));
#else
    const std::unique_ptr<X509, FreeTls> certificate(SSL_get_peer_certificate(session));
#endif
    std::string_view rest = certificate ? names_ : std::string_view();
    while (!rest.empty()) {
      if (is_for(certificate.get(), std::string(take_until(rest, ',')))) return;
    }
    throw TlsRefusal("the server's certificate is not for " + names_);
  }

 private:
  static bool is_address(const std::string& name) {
    ASN1_OCTET_STRING* const address = a2i_IPADDRESS(name.c_str());
    ASN1_OCTET_STRING_free(address);
    return address != nullptr;
  }

  static bool is_for(X509* certificate, const std::string& name) {
    if (name.empty()) return false;
    if (is_address(name)) return X509_check_ip_asc(certificate, name.c_str(), 0) == 1;
    const unsigned flags = X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS;
    return X509_check_host(certificate, name.data(), name.size(), flags, nullptr) == 1;
  }

  const std::string names_;  // any of these, separated by commas
};

class OpenSslLayer final : public TlsLayer {
 public:
  OpenSslLayer(TlsSession session, Socket socket, const TlsPeer& peer, TlsVerify verify)
      : socket_(socket), session_(std::move(session)), peer_(peer), verify_(verify) {
    socket_.attach(session_.get());
    peer_.announce(session_.get());
    SSL_set_connect_state(session_.get());
  }

  bool shake_hands() override {
    ERR_clear_error();
    const int result = SSL_do_handshake(session_.get());
    if (result == 1) {
      if (verify_ == TlsVerify::full) peer_.check(session_.get());
      return true;
    }
    if (must_wait(result, receive_needs_)) return false;
    const long verdict = SSL_get_verify_result(session_.get());
    if (verify_ != TlsVerify::none && verdict != X509_V_OK) {
      throw TlsRefusal(std::string("the server's certificate is refused: ") + X509_verify_cert_error_string(verdict));
    }
    fail();
  }

  std::size_t send(const char* bytes, std::size_t size) override {
    if (size == 0) return 0;
    const std::lock_guard<std::mutex> lock(mutex_);
    const unsigned reads = socket_.reads();
    ERR_clear_error();
    const int sent = SSL_write(session_.get(), bytes, length(size));
    holds_more_ = holds_more_ || socket_.reads() != reads;  // in the middle of another handshake, which TLS 1.2 has
    if (sent > 0) return static_cast<std::size_t>(sent);
    if (must_wait(sent, send_needs_)) return 0;
    // The server may have said why it does not want us: with TLS 1.3 it judges our certificate when the handshake is
    // over for us.
    char byte = 0;
    error_ = 0;
    ERR_clear_error();
    must_wait(SSL_peek(session_.get(), &byte, 1), receive_needs_);
    fail();
  }

  std::size_t receive(char* bytes, std::size_t size) override {
    const std::lock_guard<std::mutex> lock(mutex_);
    std::size_t filled = 0;
    do {
      ERR_clear_error();
      const int received = SSL_read(session_.get(), bytes + filled, length(size - filled));
      if (received > 0) {
        filled += static_cast<std::size_t>(received);
      } else if (must_wait(received, receive_needs_) || filled != 0) {
        break;
      } else {
        fail();
      }
    } while (filled < size && SSL_has_pending(session_.get()) == 1);
    holds_more_ = filled == size;
    return filled;
  }

  short wait(short events, Deadline deadline) override {
    for (;;) {
      const TimePoint now = Clock::now();
      if (now >= deadline) return 0;
      // A thread that sends may have taken in what this one waits for: see send().
      const bool looks_again = SSL_version(session_.get()) < TLS1_3_VERSION;
      const Deadline until = looks_again ? (std::min)(deadline, now + std::chrono::milliseconds(50)) : deadline;
      const short ready = wait_once(events, until);
      if (ready != 0 || until == deadline) return ready;
    }
  }

  bool is_quiet() noexcept override {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (SSL_has_pending(session_.get()) == 0 && !is_ready(socket_.socket(), POLLIN)) return true;
    ERR_clear_error();
    char byte = 0;
    const int peeked = SSL_peek(session_.get(), &byte, 1);  // takes session tickets and new keys
    return must_wait(peeked, receive_needs_) && SSL_has_pending(session_.get()) == 0;
  }

 private:
  short wait_once(short events, Deadline deadline) {
    const bool receives = (events & POLLIN) != 0;
    const bool sends = (events & POLLOUT) != 0;
    std::unique_lock<std::mutex> lock(mutex_);
    if (receives && holds_more_) return POLLIN;
    const int receive_needs = receives ? receive_needs_ : 0;
    const int send_needs = sends ? send_needs_ : 0;
    lock.unlock();
    const short ready = wait_for(socket_.socket(), static_cast<short>(receive_needs | send_needs), deadline);
    const bool is_broken = (ready & ~(POLLIN | POLLOUT)) != 0;
    const bool may_receive = receives && (is_broken || (ready & receive_needs) != 0);
    const bool may_send = sends && (is_broken || (ready & send_needs) != 0);
    return static_cast<short>((may_receive ? POLLIN : 0) | (may_send ? POLLOUT : 0));
  }

  static int length(std::size_t size) noexcept { return static_cast<int>((std::min)(size, std::size_t{1} << 30)); }

  // Whether a call that returned `result` may be made again, once the socket has what it needs.
  bool must_wait(int result, short& needs) noexcept {
    const int error = SSL_get_error(session_.get(), result);
    if (error == SSL_ERROR_WANT_READ) needs = POLLIN;
    if (error == SSL_ERROR_WANT_WRITE) needs = POLLOUT;
    if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) return true;
    if (error_ == 0) error_ = ERR_peek_error();
    ERR_clear_error();
    return false;
  }

  [[noreturn]] void fail() const {
    constexpr int first_alert = 1000;
    if (ERR_GET_LIB(error_) == ERR_LIB_SSL && ERR_GET_REASON(error_) >= first_alert) {
      throw TlsRefusal("the server refuses TLS: " + tls_reason(error_));
    }
    if (socket_.is_at_end() || (SSL_get_shutdown(session_.get()) & SSL_RECEIVED_SHUTDOWN) != 0) {
      throw ConnectionError("the connection was closed by the server");
    }
    if (socket_.error() != 0) throw_connection_lost(socket_.error());
    throw ConnectionError("TLS: " + tls_reason(error_));
  }

  std::mutex mutex_;  // for all below: OpenSSL wants one thread at a time
  TlsSocket socket_;
  const TlsSession session_;
  const TlsPeer& peer_;
  const TlsVerify verify_;
  short receive_needs_ = POLLIN;  // what the socket must be ready for, before it is worth to receive
  short send_needs_ = POLLOUT;    // the same for sending; they may be the other way round, as TLS has talk of its own
  bool holds_more_ = false;       // bytes that have come may be inside OpenSSL, where poll() does not see them
  unsigned long error_ = 0;       // of OpenSSL, which ended the connection
};

}  // namespace LARDER_HIREDIS_ABI
}  // namespace larder::redis::detail
