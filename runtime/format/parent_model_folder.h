// The folder of a parent model while it changes: what may be there before,
// where the unfinished model lies, and how the finished one takes its place.
//
// An output that does not exist yet appears by one rename, complete. One that
// exists may be a mount point, or a link to a folder elsewhere, which no rename
// can replace: there the files move, config.json last, without which no reader
// takes the folder for a model. Files that are not of the format (FORMAT.md)
// are never touched.
#ifndef ANYPREC_RUNTIME_FORMAT_PARENT_MODEL_FOLDER_H_
#define ANYPREC_RUNTIME_FORMAT_PARENT_MODEL_FOLDER_H_

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "runtime/format/checkpoint.h"

namespace anyprec {

// Whether a parent model can be written to `output`: OK where nothing is there,
// or a folder that is empty or what a killed run has left, or, with
// `overwrite`, a parent model. Otherwise ALREADY_EXISTS, naming a file that is
// in the way. Callers ask before they do long work.
absl::Status CheckParentModelOutput(const std::string& output, bool overwrite);

// Where an unfinished model of `output` lies: "<output>/.partial" where
// `output` exists, "<output>.partial" otherwise.
std::string PartialFolder(const std::string& output);

// A folder within a partial folder, not created here, for what a caller wants
// to find again if it is interrupted. It outlives changed settings, and goes
// when the model is finished.
std::string WorkFolder(const std::string& partial);

// Copies a folder's tokenizer files and generation_config.json into `folder` as
// they are, or keeps a GGUF's vocabulary as tokenizer.gguf.
absl::Status CopyTokenizerFiles(const Checkpoint& checkpoint,
                                const std::string& folder);

// Removes the files of a parent model, config.json first.
absl::Status RemoveModelFiles(const std::string& folder);

// Moves the files of a parent model, config.json last. Continues where a killed
// run has stopped.
absl::Status MoveModelFiles(const std::string& from, const std::string& to);

// std::filesystem::remove, where nothing may be there either.
absl::Status RemoveFile(const std::string& path);

}  // namespace anyprec

#endif  // ANYPREC_RUNTIME_FORMAT_PARENT_MODEL_FOLDER_H_
