// A real RTSP server for rtsp_source_test: a moving test picture as JPEG over RTP, on 127.0.0.1.
//   rtsp_test_server PORT [USER PASSWORD]
// PORT 0 takes a free one. Prints the port once it accepts connections, and runs until it is
// killed.
#include <csignal>
#include <cstdio>
#include <initializer_list>

#include <gst/gst.h>
#include <gst/rtsp-server/rtsp-server.h>
#include <sys/prctl.h>

namespace {

void require_password(GstRTSPServer* server, GstRTSPMediaFactory* factory, const char* user,
                      const char* password) {
  GstRTSPAuth* auth = gst_rtsp_auth_new();
  GstRTSPToken* token = gst_rtsp_token_new(GST_RTSP_TOKEN_MEDIA_FACTORY_ROLE, G_TYPE_STRING, "user",
                                           static_cast<void*>(nullptr));
  gchar* basic = gst_rtsp_auth_make_basic(user, password);
  gst_rtsp_auth_add_basic(auth, basic, token);
  g_free(basic);
  gst_rtsp_token_unref(token);
  gst_rtsp_server_set_auth(server, auth);
  g_object_unref(auth);
  gst_rtsp_media_factory_add_role(factory, "user", GST_RTSP_PERM_MEDIA_FACTORY_ACCESS,
                                  G_TYPE_BOOLEAN, TRUE, GST_RTSP_PERM_MEDIA_FACTORY_CONSTRUCT,
                                  G_TYPE_BOOLEAN, TRUE, static_cast<void*>(nullptr));
}

}  // namespace

int main(int argc, char** argv) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);  // nothing stays behind if the test is killed
  gst_init(nullptr, nullptr);
  if (argc != 2 && argc != 4) return 2;
  for (const char* element : {"videotestsrc", "jpegenc", "rtpjpegpay", "rtpbin"}) {
    GstElementFactory* factory = gst_element_factory_find(element);
    if (factory == nullptr) {
      std::fprintf(stderr, "GStreamer has no %s\n", element);
      return 3;
    }
    gst_object_unref(factory);
  }
  GstRTSPServer* server = gst_rtsp_server_new();
  gst_rtsp_server_set_address(server, "127.0.0.1");
  gst_rtsp_server_set_service(server, argv[1]);
  GstRTSPMediaFactory* factory = gst_rtsp_media_factory_new();
  gst_rtsp_media_factory_set_launch(factory,
                                    "( videotestsrc is-live=true pattern=ball ! "
                                    "video/x-raw,format=I420,width=320,height=240,framerate=25/1 "
                                    "! jpegenc ! rtpjpegpay name=pay0 pt=26 )");
  gst_rtsp_media_factory_set_shared(factory, TRUE);
  if (argc == 4) require_password(server, factory, argv[2], argv[3]);
  GstRTSPMountPoints* mounts = gst_rtsp_server_get_mount_points(server);
  gst_rtsp_mount_points_add_factory(mounts, "/camera", factory);
  g_object_unref(mounts);
  if (gst_rtsp_server_attach(server, nullptr) == 0) return 1;
  std::printf("%d\n", gst_rtsp_server_get_bound_port(server));
  std::fflush(stdout);
  g_main_loop_run(g_main_loop_new(nullptr, FALSE));
}
