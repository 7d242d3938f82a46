#include <cstddef>
#include <memory>

#include "calls.hpp"

namespace {

using larder::redis::Command;
using larder::redis::Deadline;
using larder::redis::Key;
using larder::redis::Options;
using larder::redis::Reply;
using larder::redis::Value;
using program::message_of;
using program::require;

struct Free {
  void operator()(redisContext* context) const noexcept { redisFree(context); }
};
using Context = std::unique_ptr<redisContext, Free>;

constexpr const char* nobody_listens = "redis://127.0.0.1:1/0?connect_timeout=10s&busy_poll=0&connections=2";

// A client that needs no server: an answer that fits the command, or the one that it was given.
class FixedClient : public larder::redis::Client {
 public:
  FixedClient() = default;
  explicit FixedClient(const Reply& answer) : answer_(answer) {}

 private:
  void do_run(const Command* commands, std::size_t count, Reply* replies, std::optional<Deadline>) override {
    for (std::size_t i = 0; i < count; ++i) replies[i] = answer_to(commands[i]);
  }

  Reply answer_to(const Command& command) const {
    require(command.size() == command.head().size() + command.value().size() + command.tail().size(), "size");
    if (answer_) return *answer_;
    if (command.answer() == Reply::Kind::integer) return Reply(1);
    if (command.answer() == Reply::Kind::status) return Reply(Reply::Kind::status, "OK");
    const Reply value(Reply::Kind::string, "value");
    if (command.answer() == Reply::Kind::string) return value;
    if (command.has_key()) return Reply(Reply::Array{value});
    return Reply(Reply::Array{Reply(Reply::Kind::string, "0"), Reply(Reply::Array{})});  // of a SCAN
  }

  std::optional<Reply> answer_;
};

class SlowClient : public larder::redis::Client {
  void do_run(const Command*, std::size_t, Reply*, std::optional<Deadline>) override {
    throw larder::TimeoutError("too slow");
  }
};

void use_options() {
  Options options = Options::from_url("redis://user:s%33cret@[::1]:6380/2?connect_timeout=5s&client_name=program");
  require(options.host == "::1" && options.port == 6380 && options.database == 2, "from_url");
  require(options.username == "user" && options.password == "s3cret" && options.client_name == "program", "from_url");
  require(options.connect_timeout == std::chrono::seconds(5), "from_url");
  require(Options::from_url("unix:///run/redis.sock").unix_socket == "/run/redis.sock", "from_url, unix");
  options.connections = 0;
  message_of<larder::InvalidArgument>([&] { options.validate(); });
  message_of<larder::InvalidArgument>([] { Options::from_url("http://127.0.0.1"); });
}

void use_clients() {
  larder::RedisCache cache(std::make_shared<FixedClient>(), "prefix:");
  program::make_every_call(cache);

  Command command("SET", Key{"prefix:", "key"}, Value{"value"}, "PX", 60000);
  command.add("NX").never_repeat();
  require(command.key() == "prefix:key" && !command.repeatable(), "Command");
  require(command.head().substr(0, 4) == "*6\r\n" && command.value() == "value", "Command");
  require(Reply().kind() == Reply::Kind::null && !Reply().take_string(), "Reply, nil");
  require(Reply(Reply::Kind::status, "OK").is_status() && Reply(7).integer() == 7, "Reply");
  require(Reply(Reply::Array{Reply(7)}).take_array().size() == 1, "Reply, array");
  require(Reply(Reply::Kind::failure, "ERR no").failure() == "ERR no", "Reply, failure");
}

void use_nobody() {
  const Options options = Options::from_url(nobody_listens);
  larder::RedisCache by_url(nobody_listens, "prefix:");
  larder::RedisCache by_pool(std::make_shared<larder::redis::Pool>(options));
  for (larder::RedisCache* cache : {&by_url, &by_pool}) {
    const std::string message = message_of<larder::ConnectionError>([&] { cache->get("key"); });
    if (message.find("127.0.0.1:1: cannot connect: ") != 0) throw std::logic_error("the error is: " + message);
    message_of<larder::ConnectionError>([&] { program::make_every_call(*cache); });
  }

  message_of<larder::InvalidArgument>([] { larder::RedisCache cache(static_cast<redisContext*>(nullptr)); });
  const Context context(redisConnect("127.0.0.1", 1));
  require(context && context->err != 0, "redisConnect");
  message_of<larder::InvalidArgument>([&] { larder::RedisCache cache(context.get(), "prefix:"); });
}

void use_server(const std::string& url, const std::string& prefix) {
  larder::RedisCache by_url(url, prefix);
  program::make_every_call(by_url);
  const Options options = Options::from_url(url);
  larder::RedisCache by_pool(std::make_shared<larder::redis::Pool>(options), prefix);
  program::make_every_call(by_pool);
  const std::string& path = options.unix_socket;
  const Context context(path.empty() ? redisConnect(options.host.c_str(), options.port)
                                     : redisConnectUnix(path.c_str()));
  larder::RedisCache borrowed(context.get(), prefix);
  program::make_every_call(borrowed);
}

void meet_errors() {
  larder::RedisCache refused(std::make_shared<FixedClient>(Reply(Reply::Kind::failure, "OOM command not allowed")));
  try {
    refused.set("key", "value");
    require(false, "ServerError");
  } catch (const larder::ServerError& error) {
    require(error.code() == "OOM", "code");
  }
  try {
    refused.set_many({{"a", "1"}, {"b", "2"}});
    require(false, "BatchError");
  } catch (const larder::BatchError& error) {
    require(error.code() == "OOM" && error.sent() == 2 && error.refusals().size() == 2, "BatchError");
    require(error.refusals()[1].index == 1 && error.refusals()[1].message == error.what(), "Refusal");
  }
  larder::RedisCache confused(std::make_shared<FixedClient>(Reply(Reply::Array{})));
  message_of<larder::ProtocolError>([&] { confused.get("key"); });
  message_of<larder::ConnectionError>([&] { confused.get("key"); });
  larder::RedisCache slow(std::make_shared<SlowClient>());
  message_of<larder::TimeoutError>([&] { slow.get("key"); });
  message_of<larder::Error>([&] { slow.get("key"); });
}

}  // namespace

void program::use_redis(const std::string& url, const std::string& prefix) {
  use_options();
  use_clients();
  use_nobody();
  use_server(url, prefix);
  meet_errors();
}
