// Linked into a program, this makes rediss:// work in all of it.
#include <larder/redis/tls.hpp>
