"""TensorFlow programs that fail."""

import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")

from usual import train


def full():
    import tensorflow as tf

    train(5)
    tf.train.Checkpoint(v=tf.Variable(tf.zeros([4_000_000]))).save("checkpoints/model")


def memory():
    import tensorflow as tf

    train(5)
    print(tf.zeros([1 << 20, 1 << 22]) + 1)


def shape():
    import tensorflow as tf

    tf.linalg.matmul(tf.ones([2, 3]), tf.ones([2, 3]))


def data_type():
    import tensorflow as tf

    print(tf.ones([2]) + tf.ones([2], dtype=tf.float64))


def vocabulary():
    import tensorflow as tf

    train(30)
    tf.gather(tf.ones([100, 4]), tf.constant([4, 50300]))


def no_checkpoint():
    import tensorflow as tf

    tf.train.load_checkpoint("checkpoints/model-100")


def bad_records():
    import tensorflow as tf

    train(30)
    open("shard.tfrecord", "wb").write(b"x" * 4000)
    for record in tf.data.TFRecordDataset("shard.tfrecord"):
        print(record)


def no_records():
    import tensorflow as tf

    for record in tf.data.TFRecordDataset("data/shard-00001.tfrecord"):
        print(record)


def bad_checkpoint():
    import tensorflow as tf

    path = tf.train.Checkpoint(v=tf.Variable(tf.zeros([4000]))).save("checkpoints/model")
    with open(f"{path}.index", "r+b") as index:
        index.write(b"\0" * 200)
    tf.train.load_checkpoint(path)


def nan():
    import tensorflow as tf

    train(40)
    tf.debugging.check_numerics(tf.constant([1.0, float("nan")]), "loss")


def model_shape():
    import tensorflow as tf

    model = tf.keras.Sequential([tf.keras.Input((4,)), tf.keras.layers.Dense(2)])
    model(tf.ones([2, 5]))


def truncated_graph_input():
    import tensorflow as tf

    train(12)
    tf.io.decode_png(b"not an image")


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
