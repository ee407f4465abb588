"""The KPI job on Spark: an AWS Glue 5.0 job (Spark 3.5, Python 3.11), and as well any other spark-submit.

It runs the models of glue/sql/ as they stand. Arguments, in Glue's convention; others are ignored:

  --RUN_ID             the run whose listens are told from those of others
  --S3_SOURCE_PATH     JSON: {"dates": ["YYYY-MM-DD", …], "songs": [path, …], "users": [path, …], "left_out": {run: [file, …] or "all"}}:
                       the days to compute, ascending; Parquet objects; the deliveries whose listens do not count, if any
  --S3_LAKE_PATH       the lake bucket; listens are below listens/date=D/run=R/, as they were delivered
  --S3_RESULT_PATH     folder for the result: date=D.json for each affected day, at the end summary.json
  --SQL_PATH           folder of the models
  --KPI_VERSION        not read here: it tells this job from one of an earlier turn to write the lake
  --KEEP_UNKNOWN_TRACKS  true: listens of tracks that songs does not have count as genre Unknown; false: they do not

It writes nothing but its result. Running it again for the same run replaces that. It ends with an error, and without a summary, where
anything of it did not succeed.
"""

import argparse
import functools
import hashlib
import itertools
import json
import operator
import re
import time
from concurrent.futures import ThreadPoolExecutor

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

# What makes Spark agree with DuckDB; nothing else is bridged.
SESSION = {
    "spark.sql.session.timeZone": "UTC",
    # An overflow is an error, as in DuckDB, and not a wrong number.
    "spark.sql.ansi.enabled": "true",
    # Dates before 1582 are the same days to both: no switch to the Julian calendar.
    "spark.sql.parquet.datetimeRebaseModeInRead": "CORRECTED",
    "spark.sql.parquet.datetimeRebaseModeInWrite": "CORRECTED",
    # Text is compared by its bytes; DuckDB writes instants without a zone, and so does this job.
    "spark.sql.parquet.inferTimestampNTZ.enabled": "true",
    "spark.sql.timestampType": "TIMESTAMP_NTZ",
}
# The run is the one of the folder.
LISTENS = "user_id STRING, track_id STRING, listened_at TIMESTAMP_NTZ, listen_date DATE, run STRING"
# With the delivery a row came in: the number of the file in its run's manifest, and, where runs were merged, the run.
DELIVERED = LISTENS + ", file INT, delivered_by STRING"
SONGS = "track_id STRING, track_name STRING, artists STRING, track_genre STRING, duration_ms BIGINT, popularity BIGINT"
USERS = "user_id STRING"
# What folders of merged runs begin with.
MERGED = "compacted__"
RUN_ID = re.compile(r"[A-Za-z0-9_-]{1,100}")
# What the checks of a day without listens look at.
NO_LISTENS = dict.fromkeys(
    ("listens", "unknown_track_listens", "unknown_user_listens", "most_listens_of_a_track", "most_listens_of_a_listener"), 0
)
MAX_EXACT = 2**53 - 1  # what JSON readers keep exactly


def main(argv: list[str] | None = None) -> None:
    began = time.monotonic()
    arguments = parse(argv)
    spark = SparkSession.builder.appName(f"music-kpis {arguments.RUN_ID}").getOrCreate()
    for name, value in SESSION.items():
        spark.conf.set(name, value)
    try:
        KpiJob(spark, arguments).run(began)
    finally:
        spark.stop()


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    for name in ("RUN_ID", "S3_SOURCE_PATH", "S3_LAKE_PATH", "S3_RESULT_PATH", "SQL_PATH"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--KEEP_UNKNOWN_TRACKS", choices=("true", "false"), default="true")
    arguments, _ = parser.parse_known_args(argv)
    if not RUN_ID.fullmatch(arguments.RUN_ID):
        parser.error(f"--RUN_ID {arguments.RUN_ID!r} is no run id")
    return arguments


class KpiJob:
    def __init__(self, spark: SparkSession, arguments: argparse.Namespace) -> None:
        self.spark = spark
        self.run_id = arguments.RUN_ID
        self.files = Files(spark)
        self.source = json.loads(self.files.read(arguments.S3_SOURCE_PATH))
        self.left_out = self.source.get("left_out", {})
        self.lake = arguments.S3_LAKE_PATH.rstrip("/")
        self.result = arguments.S3_RESULT_PATH.rstrip("/")
        self.sql_path = arguments.SQL_PATH.rstrip("/")
        self.keep_unknown_tracks = arguments.KEEP_UNKNOWN_TRACKS.upper()

    def run(self, began: float) -> None:
        dates = self.source["dates"]
        self.view("songs", self.parquet(SONGS, self.source["songs"]))
        self.view("users", self.parquet(USERS, self.source["users"]))
        self.view("listens", self.listens(dates))
        # Spark parts and spills by itself, so all listens are one bucket. What needs nothing of each other is made side
        # by side: a query that is planned, ends a stage or waits for S3 leaves cores idle.
        with ThreadPoolExecutor() as pool:
            listeners = pool.submit(self.keep, "listeners")
            self.keep("tracks")
            self.keep("catalogue")
            listeners.result()
            # Not kept: the three that read it are one query, which shuffles it once as long as each wants the same of it.
            # What always holds has Spark drop no column for one of them, and make no condition of its own for another.
            always = "listener IS NOT NULL AND track IS NOT NULL AND is_new IS NOT NULL"
            self.view("distinct_listens", self.model("distinct_listens").where(always))
            self.keep("track_day", "genre_bitmaps", "listener_day")
            for name in ("genre_listeners", "day_listeners"):
                self.view(name, self.model(name))
            report = pool.submit(self.report)
            day = pool.submit(self.by_day, "day", "listen_count")
            quality = pool.submit(self.by_day, "quality", "listens")
            self.keep("track_genre_day")
            top_songs = pool.submit(self.by_day, "top_songs", "genre", "rank")
            self.keep("genre_day")
            genres = pool.submit(ByDay, self.spark.table("genre_day"), "genre")
            top_genres = pool.submit(self.by_day, "top_genres", "rank")
            self.write_days(dates, *(rows.result() for rows in (day, genres, top_songs, top_genres, quality)))
            self.write_summary(dates, report.result(), began)

    def write_days(
        self, dates: list[str], day: "ByDay", genres: "ByDay", top_songs: "ByDay", top_genres: "ByDay", quality: "ByDay"
    ) -> None:
        """One JSON object a day. Its rows are few: some for each genre."""
        for date in dates:
            self.files.write(
                f"{self.result}/date={date}.json",
                {
                    "date": date,
                    **next(iter(day.of(date)), {"listen_count": 0, "unique_listeners": 0}),
                    "genres": genres.of(date),
                    "top_songs": top_songs.of(date),
                    "top_genres": top_genres.of(date),
                    "quality": next(iter(quality.of(date)), NO_LISTENS),
                },
            )

    def report(self) -> dict:
        """What the whole run came to."""
        song_rows, durations = self.spark.sql("SELECT COUNT(*), COUNT(duration_ms) FROM songs").first()
        return {
            **self.model("run_report").first().asDict(),
            "unreadable_durations": song_rows - durations,
            "song_rows": song_rows,
        }

    def write_summary(self, dates: list[str], report: dict, began: float) -> None:
        """That it is there tells that all days are."""
        self.files.write(
            f"{self.result}/summary.json",
            {
                "dates": dates,
                **report,
                "left_out_runs": len(self.left_out),
                "sql_version": self.sql_version(),
                "seconds": round(time.monotonic() - began, 3),
                "spark": self.spark.version,
            },
        )

    def sql_version(self) -> str:
        """Names the models by their content, as the service does for its own."""
        names = sorted(name for name in self.files.names(self.sql_path) if name.endswith(".sql"))
        texts = (f"{name}\0{self.text(name)}\0" for name in names)
        return hashlib.sha256("".join(texts).encode()).hexdigest()[:12]

    def listens(self, dates: list[str]) -> DataFrame:
        """The rows of these days without those of deliveries that do not stand, and whether they are this run's."""
        folders = [folder for date in dates for folder in self.files.folders(f"{self.lake}/listens/date={date}")]
        rows = self.parquet(DELIVERED if self.left_out else LISTENS, folders, below=f"{self.lake}/listens")
        if self.left_out:
            rows = rows.where(~F.coalesce(self.left(), F.lit(False)))  # without a delivery a row stands
        of_run = F.when(F.col("run") == self.run_id, 1).otherwise(0)
        return rows.withColumn("of_run", of_run).drop("run", "file", "delivered_by")

    def left(self) -> Column:
        """Whether a row came in a delivery that does not stand."""
        by = F.when(F.col("run").startswith(MERGED), F.col("delivered_by")).otherwise(F.col("run"))
        of_runs = (
            (by == run) & (F.lit(True) if files == "all" else F.col("file").isin(files))
            for run, files in self.left_out.items()
        )
        return functools.reduce(operator.or_, of_runs)

    @functools.cache
    def text(self, file: str) -> str:
        return self.files.read(f"{self.sql_path}/{file}")

    def model(self, name: str) -> DataFrame:
        return self.spark.sql(self.text(f"{name}.sql").replace("${keep_unknown_tracks}", self.keep_unknown_tracks))

    def parquet(self, schema: str, paths: list[str], below: str | None = None) -> DataFrame:
        """These objects or folders. `below`: names of folders below it, such as run=R, are columns of the schema."""
        if not paths:
            return self.spark.createDataFrame([], schema)
        reader = self.spark.read.schema(schema)
        return (reader if below is None else reader.option("basePath", below)).parquet(*paths)

    def keep(self, *names: str) -> None:
        """Models that others read: computed by one query, and kept where the loss of an executor does not matter."""
        models = {name: self.model(name) for name in names}
        rows = functools.reduce(
            functools.partial(DataFrame.unionByName, allowMissingColumns=True),
            (model.withColumn("model", F.lit(name)) for name, model in models.items()),
        )
        path = f"{self.result}/tables/{'-'.join(names)}"
        rows.write.mode("overwrite").parquet(path)
        kept = self.spark.read.schema(rows.schema).parquet(path)
        for name, model in models.items():
            self.view(name, kept.where(F.col("model") == name).select(*model.columns))

    def by_day(self, name: str, *order: str) -> "ByDay":
        return ByDay(self.model(name), *order)

    def view(self, name: str, rows: DataFrame) -> None:
        rows.createOrReplaceTempView(name)


class ByDay:
    """The rows of a model day by day, without all of them in the driver's memory at once. Ask in ascending order."""

    def __init__(self, rows: DataFrame, *order: str) -> None:
        ordered = rows.withColumn("listen_date", F.col("listen_date").cast("string")).orderBy("listen_date", *order)
        self.groups = itertools.groupby((row.asDict() for row in ordered.toLocalIterator()), key=lambda row: row.pop("listen_date"))
        self.ahead = next(self.groups, None)

    def of(self, date: str) -> list[dict]:
        if self.ahead is None or self.ahead[0] != date:
            return []
        rows = list(self.ahead[1])
        self.ahead = next(self.groups, None)
        return rows


class Files:
    """Small files, through the file system that Spark itself uses."""

    def __init__(self, spark: SparkSession) -> None:
        self.jvm = spark._jvm
        self.conf = spark._jsc.hadoopConfiguration()

    def _open(self, path: str):
        hadoop = self.jvm.org.apache.hadoop.fs.Path(path)
        return hadoop.getFileSystem(self.conf), hadoop

    def read(self, path: str) -> str:
        system, hadoop = self._open(path)
        stream = system.open(hadoop)
        try:
            return self.jvm.org.apache.commons.io.IOUtils.toString(stream, "UTF-8")
        finally:
            stream.close()

    def write(self, path: str, value: dict) -> None:
        text = json.dumps(value, ensure_ascii=False, default=refuse)
        for number in re.findall(r"(?<=: )\d{16,}", re.sub(r'"(?:[^"\\]|\\.)*"', '""', text)):
            if int(number) > MAX_EXACT:
                raise OverflowError(f"{path}: {number} is more than can be kept exactly")
        system, hadoop = self._open(path)
        stream = system.create(hadoop, True)
        stream.write(bytearray(text.encode()))
        stream.close()

    def folders(self, path: str) -> list[str]:
        return [str(status.getPath().toString()) for status in self._list(path) if status.isDirectory()]

    def names(self, path: str) -> list[str]:
        return [str(status.getPath().getName()) for status in self._list(path) if status.isFile()]

    def _list(self, path: str) -> list:
        system, hadoop = self._open(path)
        return list(system.listStatus(hadoop)) if system.exists(hadoop) else []


def refuse(value: object) -> None:
    raise TypeError(f"{type(value).__name__} has no exact JSON")


if __name__ == "__main__":
    main()
