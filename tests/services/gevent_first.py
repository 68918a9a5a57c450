from gevent import monkey

monkey.patch_all()  # before the application is imported
