#define CATCH_CONFIG_RUNNER
#include "catch.hpp"
#include "sanitizers.hpp"

#if LARDER_TSAN
// OpenSSL synchronizes with atomics that the sanitizer does not see.
extern "C" const char* __tsan_default_suppressions();
const char* __tsan_default_suppressions() { return "called_from_lib:libcrypto.so\n"; }
#endif

// Status 4 says that all was skipped: from Catch2 3.3 on its own, before that with the SKIP of catch.hpp.
int main(int argc, char* argv[]) {
  const int status = Catch::Session().run(argc, argv);
  return status == 0 && larder::testing::has_skipped ? 4 : status;
}
