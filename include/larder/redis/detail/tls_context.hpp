// SPDX-License-Identifier: MIT
#pragma once

#include "socket.hpp"  // before OpenSSL: on Windows it chooses the version of the socket library

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <array>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <mutex>
#include <new>
#include <string>
#include <system_error>

#include "../../error.hpp"
#include "../options.hpp"
#include "hiredis.hpp"
#include "tls_layer.hpp"

namespace larder::redis::detail {
inline namespace LARDER_HIREDIS_ABI {

struct FreeTls {
  void operator()(SSL_CTX* context) const noexcept { SSL_CTX_free(context); }
  void operator()(SSL* ssl) const noexcept { SSL_free(ssl); }
  void operator()(X509* certificate) const noexcept { X509_free(certificate); }
};
using TlsContext = std::unique_ptr<SSL_CTX, FreeTls>;
using TlsSession = std::unique_ptr<SSL, FreeTls>;

// The text of an error of OpenSSL's queue.
inline std::string tls_reason(unsigned long code) {
  if (const char* const text = ERR_reason_error_string(code)) return text;
  if (ERR_GET_LIB(code) == ERR_LIB_SYS) return std::generic_category().message(ERR_GET_REASON(code));
  return "OpenSSL error " + std::to_string(code);
}

// What all TLS connections of a client have in common: the certificates it trusts, and its own. Thread-safe.
class TlsContexts {
 public:
  explicit TlsContexts(const Options& options) : options_(options) {}

  // For a new connection, with the files as they are now. If they have become unusable, with what they were before: a
  // certificate is replaced in several steps. Throws ConnectionError if there is nothing usable.
  TlsSession open() {
    const std::lock_guard<std::mutex> lock(mutex_);
    const Stamps now = stamps();
    if (!context_ || now != stamps_) {
      try {
        context_ = make();
        stamps_ = now;
      } catch (const ConnectionError&) {
        if (!context_) throw;
      }
    }
    TlsSession session(SSL_new(context_.get()));
    if (!session) throw std::bad_alloc();
    return session;
  }

 private:
  struct Stamp {
    std::filesystem::file_time_type changed{};
    std::uintmax_t size = 0;
    bool operator==(const Stamp& other) const { return changed == other.changed && size == other.size; }
  };
  using Stamps = std::array<Stamp, 4>;

  static Stamp stamp(const std::string& path) {
    Stamp stamp;
    if (path.empty()) return stamp;
    std::error_code ignored;
    stamp.changed = std::filesystem::last_write_time(path, ignored);
    stamp.size = std::filesystem::file_size(path, ignored);  // of a directory: no matter what
    return stamp;
  }

  Stamps stamps() const {
    return {stamp(options_.tls_ca_file), stamp(options_.tls_ca_path), stamp(options_.tls_cert_file),
            stamp(options_.tls_key_file)};
  }

  TlsContext make() const {
    ERR_clear_error();
    TlsContext made(SSL_CTX_new(TLS_client_method()));
    if (!made) throw std::bad_alloc();
    SSL_CTX* const context = made.get();
    const auto least = SSL_CTX_get_min_proto_version(context);  // the system's policy; 0: none
    if (least < TLS1_2_VERSION) SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_read_ahead(context, 1);  // one system call a record in place of two
    SSL_CTX_set_verify(context, options_.tls_verify == TlsVerify::none ? SSL_VERIFY_NONE : SSL_VERIFY_PEER, nullptr);
    if (options_.tls_verify != TlsVerify::none) trust(context);
    if (!options_.tls_cert_file.empty()) identify(context);
    ERR_clear_error();
    return made;
  }

  void trust(SSL_CTX* context) const {
    const auto text = [](const std::string& path) { return path.empty() ? nullptr : path.c_str(); };
    const char* const file = text(options_.tls_ca_file);
    const char* const path = text(options_.tls_ca_path);
    if (file || path) {
      if (SSL_CTX_load_verify_locations(context, file, path) != 1) fail(file ? "tls_ca_file" : "tls_ca_path");
      return;
    }
#if defined(_WIN32) && OPENSSL_VERSION_NUMBER >= 0x30200000L
    if (SSL_CTX_load_verify_store(context, "org.openssl.winstore://") != 1) fail("the certificates of the system");
#else
    if (SSL_CTX_set_default_verify_paths(context) != 1) fail("the certificates of the system");
#endif
  }

  void identify(SSL_CTX* context) const {
    const auto& certificate = options_.tls_cert_file;
    const bool has_key_file = !options_.tls_key_file.empty();
    const auto& key = has_key_file ? options_.tls_key_file : certificate;
    const std::string name = has_key_file ? "tls_key_file" : "tls_cert_file: the key in it (there is no tls_key_file)";
    if (SSL_CTX_use_certificate_chain_file(context, certificate.c_str()) != 1) fail("tls_cert_file");
    // OpenSSL itself would ask for a passphrase on the terminal.
    SSL_CTX_set_default_passwd_cb(context, [](char*, int, int, void* asked) {
      *static_cast<bool*>(asked) = true;
      return -1;
    });
    bool is_encrypted = false;
    SSL_CTX_set_default_passwd_cb_userdata(context, &is_encrypted);
    const bool is_good = SSL_CTX_use_PrivateKey_file(context, key.c_str(), SSL_FILETYPE_PEM) == 1;
    SSL_CTX_set_default_passwd_cb_userdata(context, nullptr);
    if (is_encrypted) throw ConnectionError(name + ": is encrypted; it must be a key without a passphrase");
    if (!is_good || SSL_CTX_check_private_key(context) != 1) fail(name);
  }

  [[noreturn]] static void fail(const std::string& what) {
    const std::string reason = tls_reason(ERR_peek_error());
    ERR_clear_error();
    throw ConnectionError(what + ": cannot be used: " + reason);
  }

  const Options& options_;
  std::mutex mutex_;
  TlsContext context_;
  Stamps stamps_{};  // of the files that it was made from
};

}  // namespace LARDER_HIREDIS_ABI
}  // namespace larder::redis::detail
