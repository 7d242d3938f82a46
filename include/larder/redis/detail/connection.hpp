#pragma once

#include <hiredis/hiredis.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <memory>
#include <new>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "../../error.hpp"
#include "../command.hpp"
#include "../options.hpp"
#include "../reply.hpp"
#include "patience.hpp"
#include "socket.hpp"

namespace larder::redis {

/// A connection to one server: a hiredis context, which connects, and all that is sent and received over it. Not
/// thread-safe.
///
/// When a function throws, or a deadline has come, and replies are still owed, the connection is of no further use:
/// condemn() and destroy it.
class Connection {
 public:
  /// A new connection broke before it could be used. As the server had accepted it, another one may well do better.
  class LostEarly : public ConnectionError {
    using ConnectionError::ConnectionError;
  };

  /// Connects, authenticates and selects the database. Throws ConnectionError, or ServerError if the server refuses.
  Connection(const Options& options, Deadline deadline) : Connection(options, connect(options, deadline)) {
    introduce(options, deadline);
  }

  /// Borrows a context. Throws ConnectionError if it is in error, InvalidArgument if check() does.
  Connection(const Options& options, redisContext* borrowed) : Connection(options, borrow(borrowed)) {}

  /// Throws InvalidArgument if a context cannot be borrowed.
  static void check(const redisContext* context) {
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

  /// Whether nothing has happened to it while nothing was sent: not closed, no bytes that nobody asked for, nothing
  /// left half done by the owner of a borrowed context, and no answer that it is the wrong server to ask.
  bool is_sound() const noexcept {
    return parser_.is_empty() && !misplaced_ && (is_owned() || !has_pending(*context_)) && context_->err == 0 &&
           !detail::is_readable(context_->fd);
  }

  /// Makes sure that the owner of a borrowed context cannot read a reply that is not theirs: the context is left in
  /// error.
  void condemn() noexcept {
    if (is_owned() || context_->err != 0) return;
    context_->err = REDIS_ERR_OTHER;
    std::snprintf(context_->errstr, sizeof context_->errstr, "given up in the middle of a command");
  }

  // A batch of short commands: append(), then advance() and next() until no reply is owed.

  static constexpr std::size_t max_batch = 256;          // commands
  static constexpr std::size_t max_appended = 8 * 1024;  // bytes of a command

  bool has_room_for(const Command& command) const noexcept {
    return expected_.size() < max_batch && filled_ + command.size() <= buffer_size;
  }

  /// Adds a command there is room for; allocates nothing.
  void append(const Command& command) {
    expected_.push_back(command.answer());
    put(command.head());
    put(command.value());
    put(command.tail());
  }

  /// Sends what was appended, then receives some of the replies. False if the deadline came first; it can be called
  /// again.
  bool advance(Deadline deadline) { return flush(deadline) && receive(deadline); }

  /// The next reply, if it is there, else null. It stays until the next call, and can be moved from.
  Reply* next() {
    Reply* const reply = parser_.next();
    if (!reply) return nullptr;
    if (owed() == 0) throw ProtocolError("the server sent a reply that nobody asked for");
    if (!reply->answers(expected_[answered_])) throw ProtocolError("the server's answer does not fit the command");
    if (!reply->failure().empty()) {
      const std::string_view code = reply->failure().substr(0, reply->failure().find(' '));
      if (code == "READONLY" || code == "MASTERDOWN") misplaced_ = true;
    }
    if (++answered_ == expected_.size()) {
      expected_.clear();
      answered_ = 0;
      has_sent_ = false;
    }
    return reply;
  }

  /// How many replies are to come.
  std::size_t owed() const noexcept { return expected_.size() - answered_; }

  /// Whether any byte of the commands whose replies are owed may have reached the server.
  bool has_sent() const noexcept { return has_sent_; }

  /// Runs commands of any number and size; false if the deadline came first.
  bool exchange(const Command* commands, std::size_t count, Reply* replies, Deadline deadline) {
    for (const Command* command = commands; command != commands + count; ++command) {
      if (filled_ + command->size() > buffer_size && !flush(deadline)) return false;
      if (command->size() <= buffer_size) {
        append(*command);
      } else {  // not worth a copy
        expected_.push_back(command->answer());
        for (const auto part : {command->head(), command->value(), command->tail()}) {
          if (send(part, deadline) != part.size()) return false;
        }
      }
    }
    if (!flush(deadline)) return false;
    for (std::size_t i = 0; i < count;) {
      if (Reply* reply = next()) {
        replies[i++] = std::move(*reply);
      } else if (!receive(deadline)) {
        return false;
      }
    }
    return true;
  }

 private:
  static constexpr std::size_t buffer_size = 64 * 1024;

  struct Release {
    bool owned;
    void operator()(redisContext* context) const noexcept {
      if (owned) redisFree(context);
    }
  };
  using Context = std::unique_ptr<redisContext, Release>;

  Connection(const Options& options, Context context)
      : context_(std::move(context)),
        parser_(options.max_reply_bytes),
        busy_poll_(options.busy_poll),
        in_(new char[buffer_size]),
        out_(new char[buffer_size]) {
    expected_.reserve(max_batch);
  }

  bool is_owned() const noexcept { return context_.get_deleter().owned; }

  void put(std::string_view bytes) noexcept {
    if (!bytes.empty()) std::memcpy(out_.get() + filled_, bytes.data(), bytes.size());
    filled_ += bytes.size();
  }

  // Sends as much of `bytes` as the deadline allows, and returns how much that was. Meanwhile it receives, lest the
  // server wait for its replies to be taken before it takes more commands.
  std::size_t send(std::string_view bytes, Deadline deadline) {
    std::size_t sent = 0;
    while (sent < bytes.size()) {
      const std::size_t now = detail::send_some(context_->fd, bytes.data() + sent, bytes.size() - sent);
      sent += now;
      has_sent_ = has_sent_ || now != 0;
      if (now != 0) continue;
      const short ready = detail::wait_for(context_->fd, POLLIN | POLLOUT, deadline);
      if (ready == 0) break;
      if ((ready & POLLIN) != 0) receive_now();
    }
    return sent;
  }

  bool flush(Deadline deadline) {
    flushed_ += send({out_.get() + flushed_, filled_ - flushed_}, deadline);
    if (flushed_ != filled_) return false;
    flushed_ = filled_ = 0;
    return true;
  }

  bool receive(Deadline deadline) {
    if (busy_poll_.count() != 0 && patience_.is_worth_a_try()) {
      const Deadline now = std::chrono::steady_clock::now();
      if (now >= deadline) return false;  // however much the server sends
      const Deadline end = (std::min)(deadline, now + busy_poll_);
      do {
        std::this_thread::yield();  // the server may want this core
        if (receive_now()) {
          patience_.paid(true);
          return true;
        }
      } while (std::chrono::steady_clock::now() < end);
      patience_.paid(false);
    }
    do {
      if (detail::wait_for(context_->fd, POLLIN, deadline) == 0) return false;
    } while (!receive_now());
    return true;
  }

  bool receive_now() {
    const std::size_t size = detail::receive_some(context_->fd, in_.get(), buffer_size);
    if (size == 0) return false;
    parser_.feed(in_.get(), size);
    if (parser_.holds_more_than(owed()))
      throw ProtocolError("the server sent more than max_reply_bytes for each reply");
    return true;
  }

  static Context connect(const Options& options, Deadline deadline) {
    if (!options.unix_socket.empty()) {
      return connected(redisConnectUnixNonBlock(options.unix_socket.c_str()), options.unix_socket, deadline);
    }
    const std::string where = options.host + ":" + std::to_string(options.port);
    const auto addresses = detail::addresses_of(options.host);
    for (std::size_t i = 0;; ++i) {
      const Deadline now = std::chrono::steady_clock::now();
      const Deadline share = now + (deadline - now) / static_cast<int>(addresses.size() - i);
      try {
        auto context = connected(redisConnectNonBlock(addresses.at(i).c_str(), options.port), where, share);
        detail::send_without_delay(context->fd);
        redisEnableKeepAlive(context.get());
        return context;
      } catch (const ConnectionError&) {
        if (i + 1 == addresses.size()) throw;
      }
    }
  }

  // Waits for a connection attempt to succeed.
  static Context connected(redisContext* attempt, const std::string& where, Deadline deadline) {
    Context context(attempt, Release{true});
    if (!context) throw std::bad_alloc();
    const auto fail = [&](const std::string& why) { throw ConnectionError("cannot connect to " + where + ": " + why); };
    if (context->err != 0) fail(context->errstr);
    if (detail::wait_for(context->fd, POLLOUT, deadline) == 0) {
      throw TimeoutError("cannot connect to " + where + ": the time allowed ran out");
    }
    const int error = detail::pending_error(context->fd);
    if (error != 0) fail(std::system_category().message(error));
    detail::suppress_sigpipe(context->fd);
    detail::close_on_exec(context->fd);
    return context;
  }

  // What the server has to know before the first command. PING shows whether it serves us at all.
  void introduce(const Options& options, Deadline deadline) {
    std::vector<Command> commands;
    const bool has_user = !options.username.empty();
    const bool authenticates = has_user || !options.password.empty();
    if (authenticates) {
      commands.emplace_back("AUTH", has_user ? 2 : 1, Reply::Kind::status);
      if (has_user) commands.back().argument(options.username);
      commands.back().argument(options.password);
    }
    if (options.database != 0) commands.emplace_back("SELECT", 1, Reply::Kind::status).argument(options.database);
    if (!options.client_name.empty()) {
      commands.emplace_back("CLIENT", 2, Reply::Kind::status).argument("SETNAME").argument(options.client_name);
    }
    commands.emplace_back("PING", 0, Reply::Kind::status);
    std::vector<Reply> replies(commands.size());
    bool in_time = true;
    try {
      in_time = exchange(commands.data(), commands.size(), replies.data(), deadline);
    } catch (const ProtocolError&) {
      throw;
    } catch (const ConnectionError& error) {
      throw LostEarly(error.what());
    }
    if (!in_time) throw TimeoutError("the server did not answer to a new connection in the time allowed");
    if (authenticates && !replies.front().failure().empty()) {
      const std::string_view refusal = replies.front().failure();  // may repeat the password
      throw ServerError(std::string(refusal.substr(0, refusal.find(' '))) + " the server refused AUTH");
    }
    for (std::size_t i = 0; i + 1 < replies.size(); ++i) replies[i].take_status();
    const std::string_view failure = replies.back().failure();
    const std::string_view code = failure.substr(0, failure.find(' '));
    const bool serves = code == "NOPERM" || code == "LOADING" || code == "MASTERDOWN" || code == "BUSY";
    if (!serves) replies.back().take_status();
    misplaced_ = false;
  }

  static Context borrow(redisContext* context) {
    if (context->err != 0) {
      throw ConnectionError(std::string("redisContext: is in error and needs redisReconnect(): ") + context->errstr);
    }
    check(context);
    detail::suppress_sigpipe(context->fd);
    return Context(context, Release{false});
  }

  // Whether commands wait to be sent, or replies to be read. obuf is an sds string: NUL-terminated RESP, which begins
  // with '*'.
  static bool has_pending(const redisContext& context) noexcept {
    return (context.obuf && *context.obuf != '\0') || context.reader->pos != context.reader->len ||
           context.reader->ridx != -1;
  }

  Context context_;
  ReplyParser parser_;
  std::chrono::microseconds busy_poll_;
  Patience patience_;
  std::unique_ptr<char[]> in_;
  std::unique_ptr<char[]> out_;        // commands to be sent,
  std::size_t filled_ = 0;             // so many bytes,
  std::size_t flushed_ = 0;            // of which so many have gone
  std::vector<Reply::Kind> expected_;  // the answers to the commands since nothing was owed,
  std::size_t answered_ = 0;           // of which so many have come
  bool has_sent_ = false;
  bool misplaced_ = false;  // the server says that it is the wrong one
};

}  // namespace larder::redis
