#pragma once

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include <cstdlib>
#include <optional>
#include <set>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "probe.hpp"
#include "sockets.hpp"
#include "testing.hpp"

namespace larder::testing {

/// A redis-server of its own, killed with the test. It answers once the constructor and start() have returned.
/// Everything is called from one thread.
class RedisProcess {
 public:
  using Words = std::vector<std::string_view>;
  enum Listen { on_unix_socket, on_both, on_tls };  // the last two: and on a port

  /// `options` are those of redis-server's command line; a configuration file may stand before them.
  explicit RedisProcess(std::vector<std::string> options = {}, Listen listen = on_unix_socket)
      : options_(std::move(options)) {
    unix_.path = dir_.path() + "/redis.sock";
    if (listen != on_unix_socket) port_.emplace();
    speaks_tls_ = listen == on_tls;
    start();
  }
  RedisProcess(const RedisProcess&) = delete;
  RedisProcess& operator=(const RedisProcess&) = delete;
  ~RedisProcess() { kill(); }

  const Address& address() const noexcept { return unix_; }
  const Address& tcp_address() const { return port_.value().address(); }
  redis::Options options() const { return unix_.options(); }
  const std::string& dir() const noexcept { return dir_.path(); }

  /// Starts it again, with what it had saved.
  void start() {
    ::unlink(unix_.path.c_str());
    const std::string port = std::to_string(port_ ? port_->address().port : 0);
    std::vector<std::string> words = {executable(),
                                      "--port",
                                      speaks_tls_ ? "0" : port,
                                      "--bind",
                                      "127.0.0.1",
                                      "--dir",
                                      dir_.path(),
                                      "--unixsocket",
                                      unix_.path,
                                      "--save",
                                      "",
                                      "--logfile",
                                      dir_.path() + "/log",
                                      "--appendonly",
                                      "no",
                                      "--enable-debug-command",
                                      "yes"};
    if (speaks_tls_) words.insert(words.end(), {"--tls-port", port});
    const bool has_file = !options_.empty() && options_.front().front() == '/';
    if (has_file) words.insert(words.begin() + 1, options_.front());
    words.insert(words.end(), options_.begin() + (has_file ? 1 : 0), options_.end());
    std::vector<char*> arguments;
    for (auto& word : words) arguments.push_back(word.data());
    arguments.push_back(nullptr);
    const pid_t parent = ::getpid();
    process_ = ::fork();
    if (process_ < 0) throw_errno("fork");
    if (process_ == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      sigset_t none;
      ::sigemptyset(&none);
      ::pthread_sigmask(SIG_SETMASK, &none, nullptr);
      if (::getppid() == parent) ::execvp(arguments[0], arguments.data());
      ::_exit(127);
    }
    const bool ready = eventually([&] {
      if (::waitpid(process_, nullptr, WNOHANG) == process_) process_ = -1;
      return process_ < 0 || answers();
    });
    if (!ready || process_ < 0) throw std::runtime_error(words[0] + " did not start; see " + dir_.path() + "/log");
  }

  /// kill -9; returns when it is gone.
  void kill() {
    if (process_ < 0) return;
    ::kill(process_, SIGKILL);
    ::waitpid(process_, nullptr, 0);
    process_ = -1;
  }

  /// As an operator stops it; returns when it is gone.
  void shut_down() {
    ::kill(process_, SIGTERM);
    ::waitpid(process_, nullptr, 0);
    process_ = -1;
  }

  /// SIGSTOP: it takes connections, and does nothing with them.
  void freeze() {
    ::kill(process_, SIGSTOP);
    ::waitpid(process_, nullptr, WUNTRACED);
  }
  void thaw() const { ::kill(process_, SIGCONT); }

  void add_options(const std::vector<std::string>& options) {
    options_.insert(options_.end(), options.begin(), options.end());
  }

  /// The password that ask() has to give from now on.
  void use_password(std::string password) { password_ = std::move(password); }

  /// What the server answers, an error too, the elements of arrays a line each, on a connection of its own.
  std::string ask(const Words& words) const {
    const Context context = connect(unix_);
    if (context->err) throw std::runtime_error(std::string("the server cannot be asked: ") + context->errstr);
    if (!password_.empty()) testing::ask(*context, {"AUTH", password_});
    const RawReply reply = testing::ask(*context, words);
    if (!reply) throw std::runtime_error("the server did not answer");
    return text_of(*reply);
  }

  /// How often a command was carried out.
  long calls_of(std::string_view command) const { return calls_in(ask({"INFO", "commandstats"}), command); }

  /// The numbers of the connections that have this in their line of CLIENT LIST.
  std::set<std::string> clients_with(const std::string& text) const {
    std::istringstream list(ask({"CLIENT", "LIST"}));
    std::set<std::string> ids;
    for (std::string line; std::getline(list, line);) {
      if (line.find(text) != std::string::npos) ids.insert(line.substr(0, line.find(' ')));
    }
    return ids;
  }

  /// Closes every connection.
  void kill_clients() const { ask({"CLIENT", "KILL", "TYPE", "normal"}); }

 private:
  static std::string executable() {
    const char* path = std::getenv("REDIS_SERVER");
    return path && *path ? path : "redis-server";
  }

  bool answers() const {
    const Context context = connect(unix_);
    return !context->err && testing::ask(*context, {"PING"});
  }

  const TempDir dir_;
  std::vector<std::string> options_;
  std::string password_;
  Address unix_;
  std::optional<ReservedPort> port_;
  bool speaks_tls_ = false;
  pid_t process_ = -1;
};

}  // namespace larder::testing
