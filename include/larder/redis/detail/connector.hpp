// SPDX-License-Identifier: MIT
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <utility>

#include "../../error.hpp"
#include "../options.hpp"
#include "attempt.hpp"
#include "endpoint.hpp"
#include "handshake.hpp"
#include "hiredis.hpp"
#include "resolver.hpp"
#include "stream.hpp"
#include "tls_layer.hpp"

namespace larder::redis::detail {
inline namespace LARDER_HIREDIS_ABI {

// Makes the connections of a pool. Thread-safe.
class Connector {
 public:
  Connector(const Connector&) = delete;
  Connector& operator=(const Connector&) = delete;
  virtual ~Connector() = default;

  // To find out where to connect to, and with which password, may take long, and is not counted in connect_timeout.
  // Throws ConnectionError. The connector outlives the attempt.
  virtual std::unique_ptr<Attempt> begin() = 0;

  // Where the server is, for messages: "host:port" or the path of a socket.
  const std::string& address() const noexcept { return address_; }

 protected:
  explicit Connector(std::string address) : address_(std::move(address)) {}

 private:
  const std::string address_;
};

// To the server that the options name.
class ServerConnector : public Connector {
 public:
  // `options` outlive it.
  explicit ServerConnector(const Options& options)
      : Connector(options.unix_socket.empty() ? to_string(Endpoint{options.host, options.port}) : options.unix_socket),
        options_(options),
        book_(options) {}

  std::unique_ptr<Attempt> begin() override {
    return std::unique_ptr<Attempt>(
        new ServerAttempt(options_, current_login(options_), book_, options_.tls ? &tls_provider() : nullptr));
  }

 private:
  TlsProvider& tls_provider() {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (!tls_provider_) {
      const MakeTlsProvider make = make_tls_provider;
      if (!make) {
        throw InvalidArgument("tls: needs #include <larder/redis/tls.hpp> and OpenSSL (CMake: larder::tls)");
      }
      tls_provider_ = make(options_);
    }
    return *tls_provider_;
  }

  const Options& options_;
  AddressBook book_;
  std::mutex mutex_;
  std::unique_ptr<TlsProvider> tls_provider_;  // since it was first needed
};

// Of one context, which its owner has connected.
class BorrowedConnector : public Connector {
 public:
  // Both outlive it.
  BorrowedConnector(const Options& options, redisContext* context)
      : Connector(Stream::address_of(*context)), options_(options), context_(context) {}

  std::unique_ptr<Attempt> begin() override {
    return std::unique_ptr<Attempt>(new BorrowedAttempt(options_, context_));
  }

 private:
  const Options& options_;
  redisContext* const context_;
};

// To the server of the options, or the one context that the pool has borrowed, if that is not null.
inline std::unique_ptr<Connector> make_connector(const Options& options, redisContext* borrowed) {
  return std::unique_ptr<Connector>(borrowed ? static_cast<Connector*>(new BorrowedConnector(options, borrowed))
                                             : new ServerConnector(options));
}

}  // namespace LARDER_HIREDIS_ABI
}  // namespace larder::redis::detail
