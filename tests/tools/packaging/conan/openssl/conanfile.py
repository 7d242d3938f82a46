from conan import ConanFile


class OpensslConan(ConanFile):
    """The system's OpenSSL, under the names that the public recipe gives it."""

    name = "openssl"
    package_type = "shared-library"
    settings = "os", "arch", "compiler", "build_type"

    def package_id(self):
        self.info.clear()

    def package_info(self):
        self.cpp_info.set_property("cmake_file_name", "OpenSSL")
        self.cpp_info.set_property("pkg_config_name", "openssl")
        for name, target in (("crypto", "OpenSSL::Crypto"), ("ssl", "OpenSSL::SSL")):
            component = self.cpp_info.components[name]
            component.set_property("cmake_target_name", target)
            component.set_property("pkg_config_name", "lib" + name)
            component.system_libs = [name]
            component.bindirs = component.includedirs = component.libdirs = []
        self.cpp_info.components["ssl"].requires = ["crypto"]
