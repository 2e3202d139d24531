// SPDX-License-Identifier: MIT
#pragma once

#include <string>

#include "core/base/error.h"

namespace pkgfs {

/// A shared library of the system that is loaded when it is first needed instead of with the program: with all that it
/// needs itself, that can be most of the time that a start takes. Stays loaded until the process ends.
class SharedLibrary {
 public:
  /// Loads `file` ("libz.so.1"), found as the dynamic linker finds any. Throws Error(kUnsupported) that names the file,
  /// `purpose` ("to download") and the Debian package that has it ("zlib1g").
  SharedLibrary(std::string file, const std::string& purpose, const std::string& debian_package);

  /// Sets `function` to what the library calls `name`. Throws Error(kUnsupported) if it has no such function.
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
