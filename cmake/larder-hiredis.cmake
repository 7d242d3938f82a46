# Leaves a target hiredis::hiredis, wherever hiredis is from, or a larder_NOT_FOUND_MESSAGE. A file of its own, because
# the installed package looks for hiredis in the same way.
unset(larder_NOT_FOUND_MESSAGE)
if(NOT TARGET hiredis::hiredis)
  find_package(hiredis CONFIG QUIET) # no version: the version file of 1.x refuses those who ask for 0.14
endif()

if(TARGET hiredis::hiredis)
  if(hiredis_INCLUDE_DIRS)
    target_include_directories(hiredis::hiredis INTERFACE ${hiredis_INCLUDE_DIRS}) # the target of 1.0 has a wrong one
  endif()
  get_target_property(LARDER_HIREDIS_INCLUDES hiredis::hiredis INTERFACE_INCLUDE_DIRECTORIES)
  find_path(LARDER_HIREDIS_INCLUDE hiredis/hiredis.h PATHS ${LARDER_HIREDIS_INCLUDES} NO_DEFAULT_PATH NO_CACHE)
else()
  find_package(PkgConfig QUIET)
  if(PkgConfig_FOUND)
    pkg_check_modules(LARDER_HIREDIS_PC QUIET hiredis)
  endif()
  find_path(LARDER_HIREDIS_INCLUDE hiredis/hiredis.h
            HINTS ${LARDER_HIREDIS_PC_INCLUDEDIR} ${LARDER_HIREDIS_PC_INCLUDEDIR}/.. NO_CACHE)
  find_library(LARDER_HIREDIS_LIBRARY hiredis HINTS ${LARDER_HIREDIS_PC_LIBDIR} NO_CACHE)
endif()
string(REGEX REPLACE "/$" "" LARDER_HIREDIS_INCLUDE "${LARDER_HIREDIS_INCLUDE}") # there because of NO_CACHE

if(NOT TARGET hiredis::hiredis AND LARDER_HIREDIS_INCLUDE AND LARDER_HIREDIS_LIBRARY)
  add_library(hiredis::hiredis UNKNOWN IMPORTED)
  set_target_properties(hiredis::hiredis PROPERTIES IMPORTED_LOCATION "${LARDER_HIREDIS_LIBRARY}"
                                                    INTERFACE_INCLUDE_DIRECTORIES "${LARDER_HIREDIS_INCLUDE}")
endif()

set(LARDER_HIREDIS_FOUND none)
if(LARDER_HIREDIS_INCLUDE)
  file(STRINGS ${LARDER_HIREDIS_INCLUDE}/hiredis/hiredis.h LARDER_HIREDIS_VERSION REGEX "define HIREDIS_M(AJ|IN)OR ")
  string(REGEX MATCHALL "[0-9]+" LARDER_HIREDIS_VERSION "${LARDER_HIREDIS_VERSION}")
  list(JOIN LARDER_HIREDIS_VERSION . LARDER_HIREDIS_VERSION)
  set(LARDER_HIREDIS_FOUND "${LARDER_HIREDIS_VERSION} in ${LARDER_HIREDIS_INCLUDE}")
  if(NOT TARGET hiredis::hiredis)
    string(APPEND LARDER_HIREDIS_FOUND " without its library")
  endif()
endif()
if(NOT TARGET hiredis::hiredis OR (LARDER_HIREDIS_INCLUDE AND LARDER_HIREDIS_VERSION VERSION_LESS 0.14))
  string(CONCAT larder_NOT_FOUND_MESSAGE "larder needs hiredis 0.14 or later and found ${LARDER_HIREDIS_FOUND}. "
    "Install it (apt-get install libhiredis-dev, dnf install hiredis-devel, pacman -S hiredis, brew install hiredis, "
    "vcpkg install hiredis) or put the prefix that it is in on CMAKE_PREFIX_PATH.")
endif()
