import os

from conan import ConanFile
from conan.tools.files import copy


class HiredisConan(ConanFile):
    """A hiredis that is built already, under the names that the public recipe gives it."""

    name = "hiredis"
    package_type = "static-library"
    settings = "os", "arch", "compiler", "build_type"

    def package(self):
        prefix = self.conf.get("user.hiredis:prefix", check_type=str)
        copy(self, "include/hiredis/*", prefix, self.package_folder)
        copy(self, "lib/*/libhiredis.a", prefix, os.path.join(self.package_folder, "lib"), keep_path=False)

    def package_id(self):
        self.info.clear()

    def package_info(self):
        self.cpp_info.set_property("cmake_file_name", "hiredis")
        self.cpp_info.set_property("cmake_target_name", "hiredis::hiredis_all_unofficial")
        self.cpp_info.set_property("pkg_config_name", "hiredis_all_unofficial")
        library = self.cpp_info.components["hiredislib"]
        library.set_property("cmake_target_name", "hiredis::hiredis")
        library.set_property("pkg_config_name", "hiredis")
        library.libs = ["hiredis"]
