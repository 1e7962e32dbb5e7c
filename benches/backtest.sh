#!/usr/bin/env bash
# Backtests every forecast on recorded data and prints a table.
#
#   benches/backtest.sh DATA_DIR SCORERS_DIR [TASK...]
#
# DATA_DIR holds the recorded sets, SCORERS_DIR the scorers forecast.py, nextloc.py and nab.py, which
# need Python with numpy and pandas. HOMING names the binary (target/release/homing unless set).
set -euo pipefail
[ $# -ge 2 ] || { sed -n '2,7p' "$0"; exit 2; }
data=$1 scorers=$2
shift 2
homing=${HOMING:-target/release/homing}
demand="m4 nasa_5m nasa_1h twitter_5m twitter_1h wc98_5m wc98_1h taxi vm"
mobility="taxi-mobility nyc-mobility"
places="nyc-venue nyc-zone taxi-zone15 taxi-zone30 fifa bms genai"
tasks=${*:-$demand $places $mobility nab}
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT

echo "| task | figures | seconds |"
echo "|---|---|---|"
for task in $tasks; do
    began=$(date +%s.%N)
    folder=$data
    [ "$task" != nab ] || folder=$data/nab
    "$homing" backtest "$task" "$folder" --out "$out/$task.csv" >/dev/null 2>&1
    case " $mobility " in
    *" $task "*)
        # These score themselves; Brier scores by minutes ahead.
        figures=$(awk -F, 'NR > 1 && $3 != "counts" { told[$2] = told[$2] " " $3 " " sprintf("%.4f", $6)
            if (!seen[$2]++) order[++n] = $2 }
            END { for (i = 1; i <= n; i++) printf("%s%s min:%s", (i > 1 ? ", " : ""), order[i], told[order[i]]) }' \
            "$out/$task.csv") ;;
    esac
    took=$(echo "$(date +%s.%N) $began" | awk '{printf "%.1f", $1 - $2}')
    case " $mobility " in *" $task "*) echo "| $task | $figures | $took |"; continue ;; esac
    case " $demand " in
    *" $task "*)
        python3 "$scorers/forecast.py" "$task" "$data" "$out/$task.csv" --json "$out/score.json" >/dev/null
        keys="mase median_mase smape cov80 cov95 msis95 median_msis95" ;;
    *)
        if [ "$task" = nab ]; then
            python3 "$scorers/nab.py" "$data/nab" "$out/nab.csv" --threshold 0.5 \
                --json "$out/score.json" >/dev/null
            keys="standard reward_low_FP reward_low_FN"
        else
            python3 "$scorers/nextloc.py" "$task" "$data" "$out/$task.csv" --json "$out/score.json" >/dev/null
            keys="acc@1 acc@5 mrr"
        fi ;;
    esac
    figures=$(python3 -c '
import json, sys
scores = json.load(open(sys.argv[1]))
fixed = "score_at_fixed_threshold"
told = [(k, scores[k][fixed] if isinstance(scores[k], dict) else scores[k])
        for k in sys.argv[2:] if k in scores]
print(", ".join(f"{k} {v:.4g}" for k, v in told))' "$out/score.json" $keys)
    echo "| $task | $figures | $took |"
done
