// SPDX-License-Identifier: MIT
#pragma once

/// @file
/// Including this file anywhere in a program, in any translation unit that is linked in and in any order, makes
/// `rediss://` work in all of it. It needs OpenSSL 1.1.1 or 3 (CMake: `larder::tls`), and is the only file that does.
///
/// The server's certificate must be issued by a CA that the system trusts, or one of Options::tls_ca_file and
/// tls_ca_path, for the name or address that was connected to; nothing older than TLS 1.2 is spoken. Certificates that
/// are replaced on disk are used from the next connection on; the system's are read once by each client.

#include <memory>

#include "detail/hiredis.hpp"
#include "detail/socket.hpp"
#include "detail/tls_context.hpp"
#include "detail/tls_layer.hpp"
#include "detail/tls_openssl.hpp"
#include "options.hpp"

namespace larder::redis::detail {
inline namespace LARDER_HIREDIS_ABI {

class OpenSslProvider final : public TlsProvider {
 public:
  explicit OpenSslProvider(const Options& options) : contexts_(options), peer_(options), verify_(options.tls_verify) {}

  std::unique_ptr<TlsLayer> open(Socket socket) override {
    return std::make_unique<OpenSslLayer>(contexts_.open(), socket, peer_, verify_);
  }

 private:
  TlsContexts contexts_;
  const TlsPeer peer_;
  const TlsVerify verify_;
};

inline const bool openssl_is_registered = [] {
  make_tls_provider = [](const Options& options) -> std::unique_ptr<TlsProvider> {
    return std::make_unique<OpenSslProvider>(options);
  };
  return true;
}();

}  // namespace LARDER_HIREDIS_ABI
}  // namespace larder::redis::detail
