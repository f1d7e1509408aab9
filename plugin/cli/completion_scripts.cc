// What the shells need to know: how to ask `davit __complete`.
#include "base/errors.h"
#include "cli/completion.h"

namespace davit::cli {

namespace {

constexpr const char* kBash = R"bash(# bash completion of davit
_davit() {
  local line directive=4
  local -a words=("${COMP_WORDS[@]:1:COMP_CWORD}")
  COMPREPLY=()
  while IFS= read -r line; do
    case "$line" in
      :[0-9]*) directive="${line#:}" ;;
      *) COMPREPLY+=("${line%%$'\t'*}") ;;
    esac
  done < <("${COMP_WORDS[0]}" __complete "${words[@]}" 2>/dev/null)
  if [[ "$directive" == 0 ]]; then
    compopt -o default 2>/dev/null
  fi
}
complete -F _davit davit
)bash";

constexpr const char* kZsh = R"zsh(#compdef davit
# zsh completion of davit
_davit() {
  local line directive=4
  local -a candidates
  while IFS= read -r line; do
    case "$line" in
      :[0-9]*) directive="${line#:}" ;;
      *$'\t'*) candidates+=("${${line%%$'\t'*}//:/\\:}:${line#*$'\t'}") ;;
      *) candidates+=("${line//:/\\:}") ;;
    esac
  done < <("${words[1]}" __complete "${(@)words[2,CURRENT]}" 2>/dev/null)
  (( ${#candidates} )) && _describe davit candidates
  [[ "$directive" == 0 ]] && _files
}
if [[ "${funcstack[1]}" == _davit ]]; then
  _davit "$@"
else
  compdef _davit davit
fi
)zsh";

constexpr const char* kFish = R"fish(# fish completion of davit
function __davit_complete
    set -l words (commandline -opc) (commandline -ct)
    set -l directive 4
    for line in ($words[1] __complete $words[2..-1] 2>/dev/null)
        if string match -qr '^:[0-9]+$' -- $line
            set directive (string sub -s 2 -- $line)
        else
            echo $line
        end
    end
    if test "$directive" = 0
        __fish_complete_path (commandline -ct)
    end
end
complete -c davit -f -a '(__davit_complete)'
)fish";

}  // namespace

std::string completion_script(const std::string& shell) {
  if (shell == "bash") return kBash;
  if (shell == "zsh") return kZsh;
  if (shell == "fish") return kFish;
  throw base::UsageError("'" + shell + "' is none of bash, zsh, fish");
}

}  // namespace davit::cli
