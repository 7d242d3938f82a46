import os
import re

from conan import ConanFile
from conan.tools.build import check_min_cppstd
from conan.tools.files import copy, load

required_conan_version = ">=2.0"


class LarderConan(ConanFile):
    name = "larder"
    description = "A cache in process memory or in Redis"
    license = "MIT"
    homepage = "https://github.com/larder-cpp/larder"
    url = homepage
    topics = ("cache", "redis", "valkey", "hiredis", "header-only")
    package_type = "header-library"
    settings = "os", "compiler"
    exports_sources = "LICENSE", "include/*"
    no_copy_source = True

    def set_version(self):
        header = load(self, os.path.join(self.recipe_folder, "include/larder/version.hpp"))
        self.version = ".".join(re.findall(r"define LARDER_VERSION_\w+ (\d+)", header))

    def requirements(self):
        self.requires("hiredis/[>=1.0 <2]")

    def validate(self):
        check_min_cppstd(self, 17)

    def package(self):
        copy(self, "LICENSE", self.source_folder, os.path.join(self.package_folder, "licenses"))
        copy(self, "include/*", self.source_folder, self.package_folder)

    def package_id(self):
        self.info.clear()

    def package_info(self):
        self.cpp_info.set_property("cmake_file_name", "larder")
        self.cpp_info.set_property("cmake_target_name", "larder::larder")
        self.cpp_info.set_property("pkg_config_name", "larder")
        self.cpp_info.requires = ["hiredis::hiredislib"]
        self.cpp_info.bindirs = []
        self.cpp_info.libdirs = []
        if self.settings.os in ("Linux", "FreeBSD"):
            self.cpp_info.system_libs = ["pthread"]
        elif self.settings.os == "Windows":
            self.cpp_info.system_libs = ["ws2_32"]
