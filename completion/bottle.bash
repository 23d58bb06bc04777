# Completion for bash. make install puts it where bash-completion finds it under
# each program's name; elsewhere: source it.
_bottle() {
	mapfile -t COMPREPLY < <("$1" __complete bash "$1" "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
}
complete -F _bottle bottle-start bottle-attach bottle-ls bottle-approve bottle-edit bottle-log bottle-stop bottle-dash
