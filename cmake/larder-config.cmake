# find_package(larder [COMPONENTS memory|redis|tls...]): `memory` has the target larder::memory; `redis` has larder::larder,
# for which it looks for hiredis; `tls` has larder::tls, too, for which it also looks for OpenSSL. The default is `redis`,
# unless larder was installed without it.
include(CMakeFindDependencyMacro)
find_dependency(Threads)
unset(larder_NOT_FOUND_MESSAGE)

set(larder_components ${larder_FIND_COMPONENTS})
if(NOT larder_components)
  set(larder_components memory)
  if(EXISTS ${CMAKE_CURRENT_LIST_DIR}/larder-redis-targets.cmake)
    set(larder_components redis)
    set(larder_FIND_REQUIRED_redis TRUE)
  endif()
endif()

if("tls" IN_LIST larder_components)
  list(APPEND larder_components redis)
endif()

include(${CMAKE_CURRENT_LIST_DIR}/larder-memory-targets.cmake)
set(larder_memory_FOUND TRUE)

if("redis" IN_LIST larder_components AND EXISTS ${CMAKE_CURRENT_LIST_DIR}/larder-redis-targets.cmake)
  include(${CMAKE_CURRENT_LIST_DIR}/larder-hiredis.cmake)
  if(NOT larder_NOT_FOUND_MESSAGE)
    include(${CMAKE_CURRENT_LIST_DIR}/larder-redis-targets.cmake)
    set(larder_redis_FOUND TRUE)
  endif()
endif()

if("tls" IN_LIST larder_components AND larder_redis_FOUND AND EXISTS ${CMAKE_CURRENT_LIST_DIR}/larder-tls-targets.cmake)
  find_package(OpenSSL 1.1.1 QUIET)
  if(OPENSSL_FOUND)
    include(${CMAKE_CURRENT_LIST_DIR}/larder-tls-targets.cmake)
    set(larder_tls_FOUND TRUE)
  else()
    set(larder_NOT_FOUND_MESSAGE "larder::tls needs OpenSSL 1.1.1 or later (apt-get install libssl-dev).")
  endif()
endif()

foreach(larder_component IN LISTS larder_components)
  if(larder_FIND_REQUIRED_${larder_component} AND NOT larder_${larder_component}_FOUND)
    set(larder_FOUND FALSE)
    if(NOT larder_NOT_FOUND_MESSAGE)
      set(larder_NOT_FOUND_MESSAGE "The larder in ${CMAKE_CURRENT_LIST_DIR} has no component ${larder_component}.")
    endif()
  endif()
endforeach()
