#include <larder/detail/read_mostly_lock.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "../support/catch.hpp"
#include "../support/testing.hpp"

using larder::detail::ReadMostlyLock;
using Reader = ReadMostlyLock::Reader;
using larder::testing::in_threads;

TEST_CASE("no reader sees what a writer has half done") {
  ReadMostlyLock lock;
  std::uint64_t first = 0, second = 0;
  std::atomic<std::size_t> torn{0}, readers{4};
  in_threads(6, [&](const std::string& me) {
    if (me < "4") {
      for (int i = 0; i < 20000; ++i) {
        Reader reader(lock);
        if (first != second) ++torn;
        reader.count_hit();
      }
      --readers;
    } else {
      do {
        const std::lock_guard<ReadMostlyLock> writer(lock);
        ++first;
        ++second;
      } while (readers != 0);
    }
  });
  CHECK(torn == 0);
  CHECK(first == second);
  CHECK(lock.hits() == 80000);
  CHECK(lock.misses() == 0);
}

TEST_CASE("a reader may end on another thread than it began on") {
  ReadMostlyLock lock;
  for (int i = 0; i < 100; ++i) {
    auto reader = std::make_unique<Reader>(lock);
    std::thread([&] { reader.reset(); }).join();
  }
  const std::lock_guard<ReadMostlyLock> writer(lock);  // no reader is left
}
