#pragma once

#include "redis_process.hpp"  // before OpenSSL

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>

#include <atomic>
#include <cstdlib>
#include <larder/redis/options.hpp>
#include <larder/redis/tls.hpp>
#include <list>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "sockets.hpp"

namespace larder::testing {

/// A file that certificates.sh makes, in a folder of this program's.
inline std::string certificate(const std::string& name) {
  static const TempDir& dir = [&]() -> const TempDir& {
    static const TempDir made;
    const std::string script = LARDER_CERTIFICATES;
    if (std::system(("bash '" + script + "' " + made.path()).c_str()) != 0)
      throw std::runtime_error("certificates.sh failed");
    return made;
  }();
  return dir.path() + "/" + name;
}

/// How a client reaches a TLS server that has a certificate of `ca`.
inline larder::redis::Options tls_options(const Address& address) {
  auto options = address.options();
  options.tls = true;
  options.tls_ca_file = certificate("ca.pem");
  return options;
}

/// What a redis-server has to be told that has a certificate, before what `more` says.
inline std::vector<std::string> tls_server_options(const std::string& name, const std::vector<std::string>& more = {}) {
  std::vector<std::string> options{
      "--tls-cert-file",    certificate(name + ".pem"), "--tls-key-file",     certificate(name + ".key"),
      "--tls-ca-cert-file", certificate("ca.pem"),      "--tls-auth-clients", "no"};
  options.insert(options.end(), more.begin(), more.end());
  return options;
}

/// A Redis with a TLS port.
class TlsRedis : public RedisProcess {
 public:
  explicit TlsRedis(const std::string& name = "server", const std::vector<std::string>& more = {})
      : RedisProcess(tls_server_options(name, more), on_tls) {}

  const Address& tls_address() const { return tcp_address(); }
  larder::redis::Options tls_options() const { return testing::tls_options(tls_address()); }
};

/// Speaks TLS to clients, and to a server what they say; and does what servers seldom do.
class TlsFront {
 public:
  struct Settings {
    std::string certificate = "server";
    bool wants_certificate = false;  // of the client; none will do
    int version = 0;                 // TLS1_2_VERSION and the like; 0: any
    int receive_buffer = 0;          // of the sockets, in bytes; 0: the system's
  };

  explicit TlsFront(Address server) : TlsFront(std::move(server), Settings()) {}
  TlsFront(Address server, const Settings& settings)
      : server_(std::move(server)), context_(SSL_CTX_new(TLS_server_method())) {
    const std::string name = certificate(settings.certificate);
    SSL_CTX_use_certificate_chain_file(context_.get(), (name + ".pem").c_str());
    if (SSL_CTX_use_PrivateKey_file(context_.get(), (name + ".key").c_str(), SSL_FILETYPE_PEM) != 1)
      throw std::runtime_error("no certificate");
    if (settings.version != 0) {
      SSL_CTX_set_security_level(context_.get(), 0);
      SSL_CTX_set_cipher_list(context_.get(), "ALL:@SECLEVEL=0");
      SSL_CTX_set_min_proto_version(context_.get(), settings.version);
      SSL_CTX_set_max_proto_version(context_.get(), settings.version);
    }
    if (settings.wants_certificate) {
      SSL_CTX_set_verify(context_.get(), SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
    }
    SSL_CTX_set_mode(context_.get(), SSL_MODE_ENABLE_PARTIAL_WRITE);
    SSL_CTX_clear_mode(context_.get(), SSL_MODE_AUTO_RETRY);  // it would wait for data after other messages
    listener_ = listen_on(address_);
    if (settings.receive_buffer != 0) {
      ::setsockopt(listener_.get(), SOL_SOCKET, SO_RCVBUF, &settings.receive_buffer, sizeof settings.receive_buffer);
    }
    thread_ = start_without_signals([this] { accept_all(); });
  }
  TlsFront(const TlsFront&) = delete;
  TlsFront& operator=(const TlsFront&) = delete;
  ~TlsFront() {
    stopped_ = true;
    thread_.join();
    for (auto& relay : relays_) relay.join();
  }

  const Address& address() const noexcept { return address_; }
  larder::redis::Options options() const { return tls_options(address_); }
  std::size_t accepted() const noexcept { return accepted_; }
  std::string last_error() {
    const std::lock_guard lock(mutex_);
    return last_error_;
  }

  /// New keys for what it sends; the clients have to change theirs, too, if `both`.
  void update_keys(bool both) {
    in_all([=](SSL* ssl) {
      return SSL_key_update(ssl, both ? SSL_KEY_UPDATE_REQUESTED : SSL_KEY_UPDATE_NOT_REQUESTED) == 1;
    });
  }
  /// A new handshake, which TLS 1.2 has.
  void renegotiate() {
    in_all([](SSL* ssl) { return SSL_renegotiate(ssl) == 1; });
  }

 private:
  struct Free {
    void operator()(SSL_CTX* context) const noexcept { SSL_CTX_free(context); }
    void operator()(SSL* ssl) const noexcept { SSL_free(ssl); }
  };
  struct Relay {
    std::unique_ptr<SSL, Free> ssl;
    Fd client, server;
    std::mutex mutex;  // for ssl
  };

  template <class Action>
  void in_all(Action action) {
    const std::lock_guard lock(mutex_);
    for (auto& relay : relaying_) {
      const std::lock_guard hold(relay.mutex);
      if (!relay.ssl) continue;
      if (!action(relay.ssl.get()) || SSL_do_handshake(relay.ssl.get()) != 1) throw std::runtime_error("TLS refused");
    }
  }

  bool wait_for(int fd, short events) const {
    pollfd polled{fd, events, 0};
    while (!stopped_) {
      if (::poll(&polled, 1, 20) > 0) return true;
    }
    return false;
  }

  void accept_all() {
    while (wait_for(listener_.get(), POLLIN)) {
      Fd client(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
      if (!client) continue;
      const int on = 1;  // key updates would hold back what follows
      ::setsockopt(client.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
      ++accepted_;
      const std::lock_guard lock(mutex_);
      Relay& relay = relaying_.emplace_back();
      relay.client = std::move(client);
      relay.server = connect_to(server_);
      relays_.push_back(start_without_signals([this, &relay] { run(relay); }));
    }
  }

  void run(Relay& relay) {
    std::unique_ptr<SSL, Free> ssl(SSL_new(context_.get()));
    SSL_set_fd(ssl.get(), relay.client.get());
    if (wait_for(relay.client.get(), POLLIN) && SSL_accept(ssl.get()) == 1) {
      {
        const std::lock_guard lock(relay.mutex);
        relay.ssl = std::move(ssl);
      }
      while (move(relay)) {
      }
    } else {
      note_error();
    }
    const std::lock_guard lock(relay.mutex);
    relay.ssl.reset();
    relay.client.close();
    relay.server.close();
  }

  // Moves what is there, in both directions. Blocking, but for waiting.
  bool move(Relay& relay) {
    char bytes[16384];
    pollfd polled[] = {{relay.client.get(), POLLIN, 0}, {relay.server.get(), POLLIN, 0}};
    if (::poll(polled, 2, 20) < 0 || stopped_) return false;
    const std::lock_guard lock(relay.mutex);
    if (polled[0].revents != 0) {
      do {
        const int count = SSL_read(relay.ssl.get(), bytes, sizeof bytes);
        if (count <= 0) return SSL_get_error(relay.ssl.get(), count) == SSL_ERROR_WANT_READ;
        if (!send_all(relay.server, bytes, static_cast<std::size_t>(count))) return false;
      } while (SSL_pending(relay.ssl.get()) > 0);
    }
    if (polled[1].revents == 0) return true;
    const auto count = ::recv(relay.server.get(), bytes, sizeof bytes, 0);
    if (count <= 0) return false;
    for (int sent = 0; sent < count;) {
      const int now = SSL_write(relay.ssl.get(), bytes + sent, static_cast<int>(count) - sent);
      if (now <= 0) return false;
      sent += now;
    }
    return true;
  }

  static bool send_all(const Fd& fd, const char* bytes, std::size_t size) {
    while (size != 0) {
      const auto count = ::send(fd.get(), bytes, size, MSG_NOSIGNAL);
      if (count < 0) return false;
      bytes += count;
      size -= static_cast<std::size_t>(count);
    }
    return true;
  }

  void note_error() {
    const char* const reason = ERR_reason_error_string(ERR_peek_error());
    const std::lock_guard lock(mutex_);
    last_error_ = reason ? reason : "";
  }

  const Address server_;
  const std::unique_ptr<SSL_CTX, Free> context_;
  Address address_;
  Fd listener_;
  std::atomic<bool> stopped_{false};
  std::atomic<std::size_t> accepted_{0};
  std::mutex mutex_;
  std::string last_error_;
  std::list<Relay> relaying_;
  std::list<std::thread> relays_;  // of the accepting thread, until that has ended
  std::thread thread_;
};

}  // namespace larder::testing
