#pragma once

#include <hiredis/hiredis.h>

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdio>
#include <deque>
#include <larder/redis_cache.hpp>
#include <memory>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#ifdef BENCH_REDIS_PLUS_PLUS
#include <sw/redis++/redis++.h>
#endif

// The ways to reach Redis that are compared. Each has get(item) and set(item).

namespace benchmarks {

/// Where Redis is: on a unix socket, if there is one.
struct Address {
  std::string unix_socket;
  int port = 0;
};

constexpr const char* prefix = "bench:";

struct Item {
  std::string key;
  std::string value;     // begins with the key
  std::string full_key;  // prefix + key
};
using Items = std::vector<Item>;
using Value = std::optional<std::string>;
using Values = std::vector<Value>;

inline Items make_items(std::size_t count, std::size_t value_size) {
  Items items(count);
  for (std::size_t i = 0; i < count; ++i) {
    Item& item = items[i];
    char key[32];
    std::snprintf(key, sizeof key, "%07zu", i);
    item.key = key;
    item.full_key = prefix + item.key;
    item.value = item.key;
    item.value.resize(value_size, '.');
  }
  return items;
}

inline void check(const Value& value, const Item& item) {
  if (!value || value->size() != item.value.size() || value->compare(0, item.key.size(), item.key) != 0) {
    throw std::runtime_error("wrong value for " + item.key);
  }
}

struct FreeReply {
  void operator()(redisReply* reply) const noexcept { freeReplyObject(reply); }
};
using RawReply = std::unique_ptr<redisReply, FreeReply>;

/// hiredis alone, as its documentation has it.
class Raw {
 public:
  explicit Raw(const Address& address)
      : context_(address.unix_socket.empty() ? redisConnect("127.0.0.1", address.port)
                                             : redisConnectUnix(address.unix_socket.c_str())) {
    if (!context_ || context_->err != 0) throw std::runtime_error("hiredis cannot connect");
  }

  Value get(const Item& item) {
    const char* words[] = {"GET", item.full_key.data()};
    const std::size_t sizes[] = {3, item.full_key.size()};
    return value_of(*command(2, words, sizes));
  }

  void set(const Item& item) {
    const char* words[] = {"SET", item.full_key.data(), item.value.data()};
    const std::size_t sizes[] = {3, item.full_key.size(), item.value.size()};
    command(3, words, sizes);
  }

  /// One MGET.
  Values get_many(const Items& items) {
    words_.assign(1, "MGET");
    sizes_.assign(1, 4);
    for (const Item& item : items) {
      words_.push_back(item.full_key.data());
      sizes_.push_back(item.full_key.size());
    }
    const RawReply reply = command(words_.size(), words_.data(), sizes_.data());
    Values values;
    values.reserve(reply->elements);
    for (std::size_t i = 0; i < reply->elements; ++i) values.push_back(value_of(*reply->element[i]));
    return values;
  }

  /// A pipeline of SET … PX.
  void set_many(const Items& items, std::chrono::milliseconds expiry) {
    const std::string time = std::to_string(expiry.count());
    for (const Item& item : items) {
      const char* words[] = {"SET", item.full_key.data(), item.value.data(), "PX", time.data()};
      const std::size_t sizes[] = {3, item.full_key.size(), item.value.size(), 2, time.size()};
      redisAppendCommandArgv(context_.get(), 5, words, sizes);
    }
    for (std::size_t i = 0; i < items.size(); ++i) next_reply();
  }

  /// All keys at once, and a command for each of them.
  void clear() {
    const std::string pattern = std::string(prefix) + '*';
    const char* words[] = {"KEYS", pattern.data()};
    const std::size_t sizes[] = {4, pattern.size()};
    const RawReply keys = command(2, words, sizes);
    for (std::size_t i = 0; i < keys->elements; ++i) {
      const redisReply& key = *keys->element[i];
      const char* del[] = {"DEL", key.str};
      const std::size_t del_sizes[] = {3, static_cast<std::size_t>(key.len)};
      command(2, del, del_sizes);
    }
  }

  /// Any command of words without spaces; the answer as text.
  std::string ask(const char* words) {
    const RawReply reply = checked(redisCommand(context_.get(), words));
    return reply->str ? std::string(reply->str, static_cast<std::size_t>(reply->len)) : std::to_string(reply->integer);
  }

 private:
  struct Free {
    void operator()(redisContext* context) const noexcept { redisFree(context); }
  };

  static Value value_of(const redisReply& reply) {
    if (reply.type == REDIS_REPLY_NIL) return std::nullopt;
    return std::string(reply.str, static_cast<std::size_t>(reply.len));
  }

  RawReply command(std::size_t count, const char** words, const std::size_t* sizes) {
    return checked(redisCommandArgv(context_.get(), static_cast<int>(count), words, sizes));
  }

  void next_reply() {
    void* reply = nullptr;
    redisGetReply(context_.get(), &reply);
    checked(reply);
  }

  RawReply checked(void* answer) const {
    RawReply reply(static_cast<redisReply*>(answer));
    if (!reply) throw std::runtime_error(context_->errstr);
    if (reply->type == REDIS_REPLY_ERROR) throw std::runtime_error(reply->str);
    return reply;
  }

  std::unique_ptr<redisContext, Free> context_;
  std::vector<const char*> words_;
  std::vector<std::size_t> sizes_;
};

/// One connection behind a mutex.
class Guarded {
 public:
  explicit Guarded(const Address& address) : connection_(address) {}

  Value get(const Item& item) {
    const std::lock_guard<std::mutex> hold(mutex_);
    return connection_.get(item);
  }
  void set(const Item& item) {
    const std::lock_guard<std::mutex> hold(mutex_);
    connection_.set(item);
  }

 private:
  std::mutex mutex_;
  Raw connection_;
};

/// Connections that are lent out; who finds none waits for one.
class LendingPool {
 public:
  LendingPool(const Address& address, int connections) {
    for (int i = 0; i < connections; ++i) idle_.push_back(std::make_unique<Raw>(address));
  }

  Value get(const Item& item) {
    const Lease lease(*this);
    return lease->get(item);
  }
  void set(const Item& item) {
    const Lease lease(*this);
    lease->set(item);
  }

 private:
  class Lease {
   public:
    explicit Lease(LendingPool& pool) : pool_(pool) {
      std::unique_lock<std::mutex> lock(pool_.mutex_);
      pool_.returned_.wait(lock, [&] { return !pool_.idle_.empty(); });
      connection_ = std::move(pool_.idle_.front());
      pool_.idle_.pop_front();
    }
    ~Lease() {
      {
        const std::lock_guard<std::mutex> hold(pool_.mutex_);
        pool_.idle_.push_back(std::move(connection_));
      }
      pool_.returned_.notify_one();
    }
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;
    Raw* operator->() const noexcept { return connection_.get(); }

   private:
    LendingPool& pool_;
    std::unique_ptr<Raw> connection_;
  };

  std::mutex mutex_;
  std::condition_variable returned_;
  std::deque<std::unique_ptr<Raw>> idle_;
};

class Larder {
 public:
  explicit Larder(const Address& address, bool polls = true) : cache_(client(address, polls), prefix) {}

  Value get(const Item& item) { return cache_.get(item.key); }
  void set(const Item& item) { cache_.set(item.key, item.value); }
  larder::RedisCache& cache() noexcept { return cache_; }

 private:
  static std::shared_ptr<larder::redis::Client> client(const Address& address, bool polls) {
    larder::redis::Options options;
    options.unix_socket = address.unix_socket;
    if (address.port != 0) options.port = address.port;
    if (!polls) options.busy_poll = std::chrono::microseconds(0);
    options.command_timeout = std::chrono::seconds(30);  // the others wait forever
    return std::make_shared<larder::redis::Pool>(options);
  }

  larder::RedisCache cache_;
};

#ifdef BENCH_REDIS_PLUS_PLUS
class RedisPlusPlus {
 public:
  RedisPlusPlus(const Address& address, std::size_t connections) : redis_(where(address), pool_of(connections)) {}

  Value get(const Item& item) {
    auto value = redis_.get(item.full_key);
    return value ? Value(std::move(*value)) : std::nullopt;
  }
  void set(const Item& item) { redis_.set(item.full_key, item.value); }

 private:
  static sw::redis::ConnectionOptions where(const Address& address) {
    sw::redis::ConnectionOptions options;
    options.host = "127.0.0.1";
    options.port = address.port;
    if (!address.unix_socket.empty()) {
      options.type = sw::redis::ConnectionType::UNIX;
      options.path = address.unix_socket;
    }
    return options;
  }
  static sw::redis::ConnectionPoolOptions pool_of(std::size_t connections) {
    sw::redis::ConnectionPoolOptions options;
    options.size = connections;
    return options;
  }

  sw::redis::Redis redis_;
};
#endif

}  // namespace benchmarks
