// First what is declared, then what is defined: a name in two namespaces would be ambiguous.
#include <larder/fwd.hpp>

#include <larder/larder.hpp>
#include <larder/statistics.hpp>
#include <type_traits>

#include "support/catch.hpp"

namespace {

template <class... T>
constexpr bool are_defined = ((sizeof(T) > 0) && ...);

}  // namespace

TEST_CASE("what fwd.hpp declares is what the other headers define") {
  using namespace larder;
  CHECK(are_defined<Error, ConnectionError, TimeoutError, ProtocolError, ServerError, BatchError, InvalidArgument>);
  CHECK(are_defined<Expiry, BaseCache, MemoryCache, NullCache, ForwardingCache, Observer, RedisCache>);
  CHECK(are_defined<CacheStats, LoadStats, redis::PoolStats>);
  CHECK(are_defined<redis::Client, redis::Command, redis::Reply, redis::Options, redis::Pool>);
}
