// SPDX-License-Identifier: MIT
#pragma once

#include <atomic>
#include <cstddef>
#include <memory>

#include "../../error.hpp"
#include "../options.hpp"
#include "hiredis.hpp"
#include "socket.hpp"

namespace larder::redis::detail {
inline namespace LARDER_HIREDIS_ABI {

// The server, or its certificate, will not do: another connection would not do better.
class TlsRefusal : public ConnectionError {
 public:
  using ConnectionError::ConnectionError;
};

// TLS on one socket, which belongs to somebody else. One thread may send while another receives. Only wait() waits; all
// but is_quiet() throw ConnectionError when the connection is of no further use.
class TlsLayer {
 public:
  TlsLayer() = default;
  TlsLayer(const TlsLayer&) = delete;
  TlsLayer& operator=(const TlsLayer&) = delete;
  virtual ~TlsLayer() = default;

  // Goes on with the handshake; false if it has to wait(POLLIN). Nothing else may be called before it is true.
  virtual bool shake_hands() = 0;

  // Sends what fits now; returns how many bytes that were. After 0 the next call must begin with the same bytes.
  virtual std::size_t send(const char* bytes, std::size_t size) = 0;

  // Receives what is there now; returns how many bytes that were.
  virtual std::size_t receive(char* bytes, std::size_t size) = 0;

  // Waits until receive() (POLLIN) or send() (POLLOUT) may get on, and returns which; 0 if the deadline came first.
  virtual short wait(short events, Deadline deadline) = 0;

  // Whether nothing has come that receive() would return or throw.
  virtual bool is_quiet() noexcept = 0;
};

// Makes the layers of one client. Thread-safe.
class TlsProvider {
 public:
  TlsProvider() = default;
  TlsProvider(const TlsProvider&) = delete;
  TlsProvider& operator=(const TlsProvider&) = delete;
  virtual ~TlsProvider() = default;

  // Throws ConnectionError if the certificates cannot be used.
  virtual std::unique_ptr<TlsLayer> open(Socket socket) = 0;
};

// `options` outlive the provider.
using MakeTlsProvider = std::unique_ptr<TlsProvider> (*)(const Options& options);

// Set by larder/redis/tls.hpp, in whichever translation unit that is included; looked at when a client first connects.
inline std::atomic<MakeTlsProvider> make_tls_provider{nullptr};

}  // namespace LARDER_HIREDIS_ABI
}  // namespace larder::redis::detail
