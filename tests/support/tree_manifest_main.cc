// tree_manifest [--sparse] [--sockets] [--no-times] DIRECTORY
#include <cstdio>
#include <exception>
#include <string>

#include "support/tree_manifest.h"

int main(int count, char** words) {
  davit::test::ManifestOptions options;
  std::string directory;
  for (int i = 1; i < count; ++i) {
    const std::string word = words[i];
    if (word == "--sparse")
      options.sparse = true;
    else if (word == "--sockets")
      options.sockets = true;
    else if (word == "--no-times")
      options.times = false;
    else
      directory = word;
  }
  if (directory.empty()) {
    std::fprintf(stderr, "usage: tree_manifest [--sparse] [--sockets] [--no-times] DIRECTORY\n");
    return 2;
  }
  try {
    std::fputs(davit::test::tree_manifest(directory, options).c_str(), stdout);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
  return 0;
}
