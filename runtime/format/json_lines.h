// Documents of a JSON lines file: an object with a string "text" on each line,
// empty lines aside. Other fields are ignored.
//
//   ASSIGN_OR_RETURN(JsonLines lines, JsonLines::Open(path));
//   while (true) {
//     ASSIGN_OR_RETURN(const bool more, lines.Next());
//     if (!more) break;
//     ... lines.text(), lines.where()
//   }
//
// Thread-compatible.
#ifndef ANYPREC_RUNTIME_FORMAT_JSON_LINES_H_
#define ANYPREC_RUNTIME_FORMAT_JSON_LINES_H_

#include <fstream>
#include <string>

#include "absl/status/statusor.h"

namespace anyprec {

class JsonLines {
 public:
  // NOT_FOUND where the file cannot be opened.
  static absl::StatusOr<JsonLines> Open(const std::string& path);

  // Reads the next document; false at the end. INVALID_ARGUMENT names file and
  // line where a line is malformed, DATA_LOSS where it cannot be read, as in a
  // folder.
  absl::StatusOr<bool> Next();

  // Of the document last read.
  const std::string& text() const { return text_; }
  // "path:line", from line 1.
  std::string where() const;

 private:
  JsonLines(std::string path, std::ifstream file);

  std::string path_;
  std::ifstream file_;
  int line_ = 0;
  std::string text_;
};

}  // namespace anyprec

#endif  // ANYPREC_RUNTIME_FORMAT_JSON_LINES_H_
