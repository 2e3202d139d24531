// SPDX-License-Identifier: MIT
#include <fcntl.h>

#include <filesystem>
#include <optional>
#include <ostream>

#include "core/base/log.h"
#include "core/export/erofs_writer.h"
#include "core/export/oci_image.h"
#include "core/export/output_file.h"
#include "core/export/tar_writer.h"
#include "daemon/cli/logging.h"
#include "daemon/commands/commands.h"
#include "daemon/commands/squashfs.h"
#include "daemon/commands/staging.h"
#include "daemon/packages/interrupt.h"
#include "daemon/packages/open_tree.h"
#include "daemon/packages/own_source.h"

namespace pkgfs {

namespace {

/// Standard output.
class StreamSink final : public ByteSink {
 public:
  explicit StreamSink(const Io& io) : io_(io) {}
  void write(std::span<const std::byte> bytes) override {
    io_.out->write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
    if (io_.out->fail()) {
      throw Error(ErrorCode::kIo, "writing to standard output failed");
    }
  }

 private:
  const Io& io_;
};

ImageOptions image_options(const Options& options) {
  const std::size_t slash = options.platform.find('/');
  return {.os = options.platform.substr(0, slash),
          .architecture = options.platform.substr(slash + 1),
          .commands_dir = options.tree.commands_dir};
}

/// Writes a form that is a stream of bytes.
void write_stream(const PackageTree& tree, const Options& options, ByteSink& out) {
  switch (options.format) {
    case ExportFormat::kTar:
      write_tar(*tree.file_system, out);
      return;
    case ExportFormat::kOci:
      OciImage(tree, image_options(options), LayerForm::kGzip).write_layout(out);
      return;
    case ExportFormat::kDocker:
      OciImage(tree, image_options(options), LayerForm::kTar).write_docker_archive(out);
      return;
    case ExportFormat::kSquashfs:
    case ExportFormat::kErofs:
      break;
  }
  throw Error(ErrorCode::kUsage, "an image of a file system can't be written to standard output: name a file");
}

void write_file(const PackageTree& tree, const Options& options, const std::string& path) {
  OutputFile file(path, options.force);
  if (options.format == ExportFormat::kSquashfs) {
    write_squashfs(*tree.file_system, file.fd(), path);
  } else if (options.format == ExportFormat::kErofs) {
    write_erofs(*tree.file_system, file.fd(), path);
  } else {
    FileSink sink(file.fd(), path);
    write_stream(tree, options, sink);
    sink.flush();
  }
  throw_if_cancelled();
  file.publish();
}

/// Refuses a place inside the package's own directories.
void refuse_place(const PackageTree& tree, const std::string& path) {
  const std::filesystem::path parent = std::filesystem::path(path).parent_path();
  const UniqueFd directory(::open((parent / ".").c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (directory) {
    refuse_own_source(tree, directory.get(), "\"" + path + "\"");
  }
}

}  // namespace

int cmd_export(const std::vector<std::string>& args, const Io& io) {
  Options options = parse_options(CommandId::kExport, args, 2, 2);
  set_log_level(options.log);
  options.tree.lazy = Lazy::kOff;  // everything is read: first all of it is compared with its hash
  options.tree.complete_begun = true;
  const std::string& out = options.operands[1];
  const OpenedTree opened = open_tree(options.operands[0], options.tree, io);
  CancelFlag cancel;
  if (out == "-") {
    const InterruptGuard guard(cancel);
    StreamSink sink(io);
    write_stream(opened.tree, options, sink);
    return 0;
  }
  refuse_place(opened.tree, out);
  if (options.format == ExportFormat::kOci && !out.ends_with(".tar")) {
    std::optional<Staging> staging;  // cleans up when the guard is gone: signals end the process again
    const InterruptGuard guard(cancel);
    const OciImage image(opened.tree, image_options(options), LayerForm::kGzip);
    staging.emplace(out, options.force);
    const UniqueFd directory = staging->open();
    image.write_layout(directory.get(), out);
    staging->publish(cancel);
  } else {
    const InterruptGuard guard(cancel);
    write_file(opened.tree, options, out);
  }
  log::info("wrote \"{}\"", out);
  return 0;
}

}  // namespace pkgfs
