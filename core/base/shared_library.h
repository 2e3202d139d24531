// SPDX-License-Identifier: MIT
#pragma once

#include <string>

#include "core/base/error.h"

namespace pkgfs {

/// A shared library of the system that is loaded when it is first needed, and stays loaded until the process ends.
/// Loading it with the program would take most of the time of a short run, for it and the libraries that it needs.
class SharedLibrary {
 public:
  /// Loads `file` ("libz.so.1") from where the dynamic linker finds it. Throws Error(kUnsupported) that names the file,
  /// `purpose` ("to download") and the Debian package that has it ("zlib1g").
  SharedLibrary(std::string file, const std::string& purpose, const std::string& debian_package);

  /// Sets `function` to the function `name` of the library. Throws Error(kUnsupported) if it has none.
  template <typename Function>
  void bind(Function*& function, const char* name) const {
    // NOLINTNEXTLINE(cppcoreguidelines-pro-type-reinterpret-cast): dlsym's interface
    function = reinterpret_cast<Function*>(symbol(name));
  }

 private:
  [[nodiscard]] void* symbol(const char* name) const;

  std::string file_;
  void* handle_;
};

}  // namespace pkgfs
