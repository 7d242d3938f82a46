import os
import re

from conan import ConanFile
from conan.errors import ConanInvalidConfiguration
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
    options = {"redis": [True, False], "tls": [True, False]}
    default_options = {"redis": True, "tls": False}
    exports_sources = "LICENSE", "include/*"
    no_copy_source = True

    def set_version(self):
        header = load(self, os.path.join(self.recipe_folder, "include/larder/version.hpp"))
        self.version = ".".join(re.findall(r"define LARDER_VERSION_\w+ (\d+)", header))

    def requirements(self):
        if self.options.redis:
            self.requires("hiredis/[>=1.0 <2]")
        if self.options.tls:
            self.requires("openssl/[>=1.1.1 <4]")

    def validate(self):
        check_min_cppstd(self, 17)
        if self.options.tls and not self.options.redis:
            raise ConanInvalidConfiguration("larder: the option tls needs the option redis")

    def package(self):
        copy(self, "LICENSE", self.source_folder, os.path.join(self.package_folder, "licenses"))
        copy(self, "include/*", self.source_folder, self.package_folder)

    def package_id(self):
        self.info.clear()

    def package_info(self):
        self.cpp_info.set_property("cmake_file_name", "larder")
        self._component("memory", "larder::memory", "larder-memory")
        if self.settings.os in ("Linux", "FreeBSD"):
            self.cpp_info.components["memory"].system_libs = ["pthread"]
        if self.options.redis:
            redis = self._component("redis", "larder::larder", "larder")
            redis.requires = ["memory", "hiredis::hiredislib"]
            if self.settings.os == "Windows":
                redis.system_libs = ["ws2_32"]
        if self.options.tls:
            tls = self._component("tls", "larder::tls", "larder-tls")
            tls.requires = ["redis", "openssl::ssl"]

    def _component(self, name, target, pkg_config):
        component = self.cpp_info.components[name]
        component.set_property("cmake_target_name", target)
        component.set_property("pkg_config_name", pkg_config)
        component.bindirs = []
        component.libdirs = []
        return component
