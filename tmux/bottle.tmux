#!/usr/bin/env bash
# The entry of a tmux plugin: binds one key, which opens a menu, and the same keys
# in a table of their own, "bottle". It changes nothing that is bound or set already.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
scripts=$(cd "$here/../scripts" && pwd)

say() { tmux display-message "bottle: $*" 2>/dev/null || true; echo "bottle: $*" >&2; }

version=$(tmux display-message -p '#{version}')
number=${version#next-}
number=${number%%[!0-9.]*}
major=${number%%.*}
minor=${number#*.}
minor=${minor%%.*}
if [ "${major:-0}" -lt 3 ] || { [ "${major:-0}" -eq 3 ] && [ "${minor:-0}" -lt 2 ]; }; then
  say "tmux $version is too old: 3.2 or newer is needed"
  exit 1
fi

option() { # NAME DEFAULT
  local value
  value=$(tmux show-options -gqv "$1")
  printf '%s' "${value:-$2}"
}

# The path is in the environment alone: no quoting of tmux' or a shell's can meet it.
tmux set-environment -g BOTTLE_SCRIPTS "$scripts"
run() { printf "run-shell -b 'exec \"\$BOTTLE_SCRIPTS/bottle-tmux\" %s \"#{pane_id}\"'" "$1"; }

menu=()
for entry in 'dash d dashboard' 'new n new agent' 'attach a attach' 'approve p approve' 'next w next that waits' 'stop x stop' 'log l log' 'detach q detach'; do
  read -r action default label <<<"$entry"
  key=$(option "@bottle-key-$action" "$default")
  menu+=("$label" "$key" "$(run "$action")")
  tmux bind-key -T bottle "$key" run-shell -b "exec \"\$BOTTLE_SCRIPTS/bottle-tmux\" $action \"#{pane_id}\""
done

key=$(option @bottle-key B)
bound=$(tmux list-keys -T prefix "$key" 2>/dev/null || true)
case $bound in
  '' | *BOTTLE_SCRIPTS*) tmux bind-key -T prefix "$key" display-menu -T bottle -x P -y P "${menu[@]}" ;;
  *) say "prefix $key is bound already: set @bottle-key to another" ;;
esac

counts='#(bottle-ls --status-line)'
for bar in status-left status-right; do
  value=$(tmux show-options -gv "$bar")
  case $value in
    *'#{bottle_status}'*) tmux set-option -g "$bar" "${value//'#{bottle_status}'/$counts}" ;;
  esac
done
own='#{?window_bigger,[#{window_offset_x}#,#{window_offset_y}] ,}"#{=21:pane_title}" %H:%M %d-%b-%y'
if [ "$(option @bottle-status on)" = on ] && [ "$(tmux show-options -gv status-right)" = "$own" ]; then
  tmux set-option -g status-right "$counts  $own"
  length=$(tmux show-options -gv status-right-length)
  [ "$length" != 40 ] || tmux set-option -g status-right-length 90
fi
