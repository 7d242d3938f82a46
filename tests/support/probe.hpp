#pragma once

#include <hiredis/hiredis.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <memory>
#include <new>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "address.hpp"

namespace larder::testing {

struct FreeContext {
  void operator()(redisContext* context) const noexcept { redisFree(context); }
};
using Context = std::unique_ptr<redisContext, FreeContext>;

struct FreeReply {
  void operator()(redisReply* reply) const noexcept { freeReplyObject(reply); }
};
using RawReply = std::unique_ptr<redisReply, FreeReply>;

/// A connection by hiredis alone, which waits up to 5 s. Its `err` says whether it could be made.
inline Context connect(const Address& address) {
  const timeval timeout{5, 0};
  Context context(address.path.empty() ? redisConnectWithTimeout("127.0.0.1", address.port, timeout)
                                       : redisConnectUnixWithTimeout(address.path.c_str(), timeout));
  if (!context) throw std::bad_alloc();
  if (!context->err) redisSetTimeout(context.get(), timeout);
  return context;
}

/// What the server answers over hiredis alone; null if the connection is lost. That raises no SIGPIPE, unlike hiredis'
/// own sending.
inline RawReply ask(redisContext& context, const std::vector<std::string_view>& words) {
  std::vector<const char*> texts;
  std::vector<std::size_t> sizes;
  for (const auto word : words) {
    texts.push_back(word.data());
    sizes.push_back(word.size());
  }
  char* command = nullptr;
  const auto size = redisFormatCommandArgv(&command, static_cast<int>(words.size()), texts.data(), sizes.data());
  if (size < 0) throw std::bad_alloc();
  const std::unique_ptr<char, decltype(&redisFreeCommand)> owner(command, redisFreeCommand);
#ifdef MSG_NOSIGNAL
  constexpr int flags = MSG_NOSIGNAL;
#else
  constexpr int flags = 0;
#endif
  for (std::size_t sent = 0; sent < static_cast<std::size_t>(size);) {
    const auto count = ::send(context.fd, command + sent, static_cast<std::size_t>(size) - sent, flags);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return nullptr;
    sent += static_cast<std::size_t>(count);
  }
  void* reply = nullptr;
  redisGetReply(&context, &reply);
  return RawReply(static_cast<redisReply*>(reply));
}

/// A reply as text, the elements of an array a line each.
inline std::string text_of(const redisReply& reply) {
  if (reply.type == REDIS_REPLY_INTEGER) return std::to_string(reply.integer);
  if (reply.type != REDIS_REPLY_ARRAY) {
    return reply.str ? std::string(reply.str, static_cast<std::size_t>(reply.len)) : std::string();
  }
  std::string text;
  for (std::size_t i = 0; i < reply.elements; ++i) text += text_of(*reply.element[i]) + '\n';
  return text;
}

/// How often a command was carried out, by what INFO commandstats says.
inline long calls_in(const std::string& stats, std::string_view command) {
  const std::string name = "cmdstat_" + std::string(command) + ":calls=";
  const auto at = stats.find(name);
  return at == std::string::npos ? 0 : std::strtol(stats.c_str() + at + name.size(), nullptr, 10);
}

/// What any other client of the server sees: a connection by hiredis alone. An error that the server answers with is
/// thrown.
class Probe {
 public:
  explicit Probe(const Address& address, int database = 0, std::string_view password = {})
      : context_(connect(address)) {
    if (context_->err) throw std::runtime_error(std::string("the probe cannot connect: ") + context_->errstr);
    if (!password.empty()) (*this)("AUTH", password);
    if (database != 0) (*this)("SELECT", std::to_string(database));
  }

  RawReply run(const std::vector<std::string_view>& words) const {
    RawReply reply = ask(*context_, words);
    if (!reply) throw std::runtime_error(std::string("the probe lost its connection: ") + context_->errstr);
    if (reply->type == REDIS_REPLY_ERROR) throw std::runtime_error(std::string(words[0]) + ": " + reply->str);
    return reply;
  }

  template <class... Text>
  std::optional<std::string> text(const Text&... words) const {
    const auto reply = run({std::string_view(words)...});
    if (reply->type == REDIS_REPLY_NIL) return std::nullopt;
    return text_of(*reply);
  }

  template <class... Text>
  long long integer(const Text&... words) const {
    const auto reply = run({std::string_view(words)...});
    if (reply->type != REDIS_REPLY_INTEGER) throw std::runtime_error("not an integer");
    return reply->integer;
  }

  /// How often a command was carried out.
  long calls_of(std::string_view command) const { return calls_in(text("INFO", "commandstats").value(), command); }

  template <class... Text>
  void operator()(const Text&... words) const {
    run({std::string_view(words)...});
  }

 private:
  const Context context_;
};

}  // namespace larder::testing
