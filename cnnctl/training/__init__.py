"""From a plan to a trained net: optimizers, schedules, callbacks, loggers, the Trainer."""
