// SPDX-License-Identifier: MIT
#include "core/vfs/executables.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <span>
#include <utility>

#include "core/vfs/overlay_node.h"

namespace pkgfs::vfs {
namespace {

// All tables are sorted: they are searched by halves.

/// In lower case. A file that a kernel or a loader executes has none of these.
constexpr auto kDataEndings = std::to_array<std::string_view>(
    {"7z",        "a",         "adoc",       "am",          "asc",         "asm",
     "avi",       "bc",        "bmp",        "br",          "bz2",         "c",
     "cabal",     "cc",        "cer",        "cert",        "cfg",         "class",
     "cmake",     "conf",      "cpp",        "crl",         "crt",         "cs",
     "css",       "csv",       "cu",         "cxx",         "dat",         "data",
     "db",        "deb",       "debug",      "def",         "desktop",     "diff",
     "dll",       "docx",      "dtd",        "dts",         "dylib",       "egg",
     "el",        "elc",       "enc",        "eot",         "eps",         "f90",
     "flac",      "frag",      "gguf",       "gif",         "gir",         "gitattributes",
     "gitignore", "gitkeep",   "gitmodules", "glsl",        "go",          "gresource",
     "gschema",   "gz",        "h",          "h5",          "hdf5",        "hh",
     "hpp",       "htm",       "html",       "hxx",         "ico",         "idl",
     "img",       "inc",       "ini",        "inl",         "ipp",         "ipynb",
     "iso",       "jar",       "java",       "jpeg",        "jpg",         "jsm",
     "json",      "json5",     "jsonl",      "jsx",         "ko",          "la",
     "lang",      "less",      "lock",       "log",         "lzma",        "m4",
     "map",       "md",        "md5",        "mdx",         "mjml",        "mk",
     "mli",       "mo",        "mod",        "mov",         "mp3",         "mp4",
     "msg",       "npmignore", "npy",        "npz",         "o",           "odt",
     "ogg",       "onnx",      "opus",       "otf",         "parquet",     "patch",
     "pc",        "pcm",       "pdf",        "pem",         "ph",          "pickle",
     "pkl",       "plist",     "pm",         "png",         "po",          "pod",
     "pom",       "pot",       "properties", "proto",       "ps",          "psd",
     "pth",       "pub",       "pxd",        "pxi",         "pyc",         "pyd",
     "pyi",       "pyo",       "pyx",        "qcow2",       "qm",          "rar",
     "res",       "rlib",      "rmeta",      "rng",         "rpm",         "rs",
     "rst",       "rtf",       "s",          "safetensors", "scss",        "service",
     "sha1",      "sha256",    "sig",        "socket",      "sql",         "sqlite",
     "sqlite3",   "srt",       "svg",        "svgz",        "tar",         "tcc",
     "template",  "tex",       "texi",       "tga",         "tgz",         "tif",
     "tiff",      "tmpl",      "toml",       "tsv",         "tsx",         "ttc",
     "ttf",       "txt",       "typed",      "typelib",     "ui",          "vert",
     "vim",       "vmdk",      "vtt",        "vue",         "wasmer",      "wast",
     "wat",       "wav",       "webc",       "webm",        "webmanifest", "webp",
     "whl",       "wit",       "woff",       "woff2",       "xcf",         "xhtml",
     "xlsx",      "xml",       "xpm",        "xsd",         "xsl",         "xslt",
     "xz",        "yaml",      "yml",        "zip",         "zst"});
/// Of what a program loads, but also of scripts.
constexpr auto kModuleEndings =
    std::to_array<std::string_view>({"cjs", "clj", "dart", "exs", "fish", "groovy", "hs", "jl", "js",    "kts", "lua",
                                     "mjs", "ml",  "php",  "pl",  "py",   "r",      "rb", "so", "swift", "tcl", "ts"});
/// Names without an extension that many directories have.
constexpr auto kDataNames =
    std::to_array<std::string_view>({"AUTHORS", "COPYING", "COPYRIGHT", "ChangeLog", "INSTALLER", "LICENCE", "LICENSE",
                                     "METADATA", "NOTICE", "PKG-INFO", "README", "RECORD", "WHEEL", "copyright"});

/// What a directory is for. Those below it are for the same, unless they have a name of this table themselves.
enum class Purpose : std::uint8_t { kAny, kData, kModules, kPrograms };
constexpr auto kDirectories = std::to_array<std::pair<std::string_view, Purpose>>({
    {"bin", Purpose::kPrograms},
    {"dist-packages", Purpose::kModules},
    {"include", Purpose::kData},
    {"lib", Purpose::kModules},
    {"lib32", Purpose::kModules},
    {"lib64", Purpose::kModules},
    {"libexec", Purpose::kPrograms},
    {"libx32", Purpose::kModules},
    {"man", Purpose::kData},
    {"node_modules", Purpose::kModules},
    {"sbin", Purpose::kPrograms},
    {"share", Purpose::kModules},
    {"site-packages", Purpose::kModules},
    {"terminfo", Purpose::kData},
    {"zoneinfo", Purpose::kData},
});

static_assert(std::ranges::is_sorted(kDataEndings) && std::ranges::is_sorted(kModuleEndings) &&
              std::ranges::is_sorted(kDataNames) &&
              std::ranges::is_sorted(kDirectories, {}, &std::pair<std::string_view, Purpose>::first));

Purpose purpose_of(const OverlayPath& directory) {
  for (const OverlayPath* here = &directory; here->parent != nullptr; here = here->parent.get()) {
    const auto found =
        std::ranges::lower_bound(kDirectories, here->name, {}, &std::pair<std::string_view, Purpose>::first);
    if (found != kDirectories.end() && found->first == here->name) {
      return found->second;
    }
  }
  return Purpose::kAny;
}

/// What follows the last dot of a name, in lower case. Empty: there is no dot, or more than any table has follows.
class Extension {
 public:
  explicit Extension(std::string_view name) {
    const std::size_t dot = name.rfind('.');
    if (dot == std::string_view::npos || name.size() - dot - 1 > letters_.size()) {
      return;
    }
    for (const char letter : name.substr(dot + 1)) {
      letters_[length_++] = letter >= 'A' && letter <= 'Z' ? static_cast<char>(letter - 'A' + 'a') : letter;
    }
  }
  [[nodiscard]] std::string_view text() const { return {letters_.data(), length_}; }

 private:
  std::array<char, 16> letters_{};
  std::size_t length_ = 0;
};

bool is_module(std::string_view name, std::string_view extension) {
  // "libz.so.1", but not "ld-linux-x86-64.so.2": the kernel executes that one to start a program.
  const bool library = extension == "so" || name.find(".so.") != std::string_view::npos;
  return library ? !name.starts_with("ld") : std::ranges::binary_search(kModuleEndings, extension);
}

}  // namespace

bool is_program_name(const OverlayPath& directory, std::string_view name) {
  const Extension extension(name);
  if (std::ranges::binary_search(kDataEndings, extension.text()) || std::ranges::binary_search(kDataNames, name)) {
    return false;
  }
  switch (purpose_of(directory)) {
    case Purpose::kData:
      return false;
    case Purpose::kModules:
      return !is_module(name, extension.text());
    case Purpose::kAny:
    case Purpose::kPrograms:
      return true;
  }
  return true;
}

Result<bool> begins_like_a_program(FileSystem& fs, Inode file) {
  const Result<Extent> extent = fs.extent(file);
  if (!extent) {
    return fail(extent.error());
  }
  std::array<char, 4> bytes{};
  const std::size_t count = std::min<std::size_t>(bytes.size(), extent->run.length);
  if (const Result<void> read =
          extent->source->read(extent->run.offset, std::as_writable_bytes(std::span(bytes)).first(count));
      !read) {
    return fail(read.error());
  }
  const std::string_view start(bytes.data(), count);
  return start.starts_with("#!") || start == std::string_view("\0asm", 4) ||
         start ==
             "\x7f"
             "ELF";
}

}  // namespace pkgfs::vfs
